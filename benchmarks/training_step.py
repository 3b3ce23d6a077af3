"""The training step: `python -m benchmarks.training_step [--rounds N] [--steps N]`.

Method. Two contenders train the same model (the default config: width 64, 2 layers, a vocabulary of 64) on batches
of the same shape (32 rows of 192 tokens), in one process, in alternating rounds. `engine` is what `train` runs:
Tunix' PeftTrainer with our feed, events and all. `by hand` is a loop around one `jax.jit` of the same loss, gradient
and optimizer, with donated state, on one batch that is already there, waiting for nothing until its last step: the
least that the step can cost. The ratio is of the medians over rounds; each round ends when its last step is computed.
CPU time, of all threads, is the steadier where others use the machine too.
The wait for data is the time that batches took while no step was being computed, as a share of the round. Traces are
the programs that the engine's step was compiled to: one, for batches of one shape.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch, Job, jax_environment

jax_environment.prepare_environment()

import jax  # noqa: E402  # the environment comes first
import optax  # noqa: E402
from flax import nnx  # noqa: E402

from tunix_rt.training.batches import RowBatches  # noqa: E402
from tunix_rt.training.engines import architecture, jax_folder, jax_loss, jax_step, jax_training, model_folder  # noqa: E402
from tunix_rt.training.engines.jax_model import Decoder  # noqa: E402
from tunix_rt.training.render import Row  # noqa: E402

VOCABULARY, WIDTH = 64, 192


def rows(count: int) -> list[Row]:
    """Random rows of 96 to 192 tokens, supervised in their second half."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        length = int(random.integers(WIDTH // 2, WIDTH + 1))
        tokens = random.integers(0, VOCABULARY, length).tolist()
        made.append(Row(id=str(number), tokens=tokens, start=length // 2, stop=length))
    return made


def by_hand(config: TrainingConfig, model: Decoder, batch: Batch) -> Callable[[int], float]:
    """Seconds of a number of steps of a hand-written loop."""
    definition, state = nnx.split(model)
    optimizer = jax_step.optimizer(config)
    inputs = jax.tree.map(jax.numpy.asarray, jax_step.inputs(batch, config.learning_rate))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(state: Any, optimizer_state: Any, inputs: Any) -> Any:
        def loss(state: Any) -> Any:
            return jax_loss.loss(nnx.merge(definition, state), **inputs)[0]

        value, gradient = jax.value_and_grad(loss)(state)
        update, optimizer_state = optimizer.update(gradient, optimizer_state, state)
        return optax.apply_updates(state, update), optimizer_state, value

    held = [jax.tree.map(jax.numpy.copy, state), optimizer.init(state)]

    def run(steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            *held[:], loss = step(*held, inputs)
        jax.block_until_ready(loss)
        return time.perf_counter() - started

    return run


class Engine:
    """The engine, a number of steps at a time."""

    def __init__(self, config: TrainingConfig, model: Decoder, batches: Any, folder: Path) -> None:
        self._left = 0
        self.waited = 0.0
        job = Job(
            folder=folder,
            config=config,
            batches=batches,
            vocabulary=VOCABULARY,
            total_steps=10**8,
            base=None,
            tokenizer=folder,
            special={},
            resume_from=None,
            fingerprint={},
            emit=lambda *_, **__: None,
            stopping=self._stopping,
        )
        self._trainer = jax_training.make_trainer(job, model)
        self._trainer.is_managed_externally = True  # train() may be called again
        self._feed = self._trainer.data_hooks.load_next_train_batch
        self._trainer.data_hooks.load_next_train_batch = self._timed

    def _stopping(self) -> bool:
        self._left -= 1
        return self._left < 0

    def _timed(self, trainer: Any) -> Any:
        started = time.perf_counter()
        batch = self._feed(trainer)
        if batch is not None and self._trainer.steps.in_flight.idle:
            self.waited += time.perf_counter() - started
        return batch

    @property
    def traces(self) -> int:
        """How often the step was traced and compiled."""
        step, _ = self._trainer.jit_train_and_eval_step()
        return int(step.func.jitted_fn._cache_size())

    def run(self, steps: int) -> float:
        """Seconds of a number of steps."""
        self._left = steps
        started = time.perf_counter()
        self._trainer.train(())
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    chosen = parser.parse_args()
    # No evaluation or checkpoint falls into a round.
    config = TrainingConfig(batching="padded", eval_every_steps=10**8, checkpoint_every_steps=10**8)
    batches = RowBatches(rows(2000), [], config, padding=0)
    dimensions = architecture.from_scratch(config.model, VOCABULARY, WIDTH)

    def model() -> Decoder:
        empty = Decoder(dimensions)
        return jax_folder.fill(empty, model_folder.start(empty.dimensions, 0))

    times: dict[str, list[float]] = {"by hand": [], "engine": []}
    busy: dict[str, list[float]] = {"by hand": [], "engine": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        np.errstate(over="ignore"),
        jax.default_matmul_precision("float32"),
    ):
        hand = by_hand(config, model(), batches.training(1, 0))
        engine = Engine(config, model(), batches, Path(folder))
        hand(3)
        engine.run(3)
        engine.waited = 0.0
        for _ in range(chosen.rounds):
            for name, run in (("by hand", hand), ("engine", engine.run)):
                before = time.process_time()
                times[name].append(run(chosen.steps) / chosen.steps)
                busy[name].append((time.process_time() - before) / chosen.steps)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{'':10}{'ms a step':>12}{'steps/s':>10}{'least ms':>10}{'CPU ms':>10}")
    for name, seconds in medians.items():
        cpu = statistics.median(busy[name])
        print(f"{name:10}{seconds * 1e3:12.1f}{1 / seconds:10.2f}{min(times[name]) * 1e3:10.1f}{cpu * 1e3:10.1f}")
    paired, cpu = (
        statistics.median(a / b for a, b in zip(found["by hand"], found["engine"], strict=True))
        for found in (times, busy)
    )
    waited = engine.waited / (sum(times["engine"]) * chosen.steps)
    print(f"steps/s of the engine / by hand: {medians['by hand'] / medians['engine']:.3f}", end=" ")
    print(f"(median of pairs {paired:.3f}; by CPU time {cpu:.3f})")
    print(f"wait for data: {waited:.2%} of the engine's time; traces of the step: {engine.traces}")


if __name__ == "__main__":
    main()
