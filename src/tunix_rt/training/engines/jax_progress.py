"""What Tunix asks and is asked around a step: `Feed` are its data hooks, `Steps` is its checkpoint manager."""

import math
from functools import partial
from typing import Any

import jax
from flax import nnx
from tunix.sft import hooks

from tunix_rt.training.engines import (
    Batch,
    Generated,
    Job,
    Sampling,
    jax_compilation,
    jax_devices,
    jax_generation,
    jax_state,
    jax_step,
)
from tunix_rt.training.engines.in_flight import InFlight, Step
from tunix_rt.training.engines.progress import Progress


def state_of(trainer: Any) -> dict[str, Any]:
    """All that a step changes."""
    return {"parameters": nnx.state(trainer.model, trainer.model.trained), "optimizer": nnx.state(trainer.optimizer)}


class Steps:
    """Brings Tunix and `Progress` together. To Tunix it is the checkpoint manager."""

    def __init__(self, job: Job, trainer: Any, progress: Progress, first: int) -> None:
        self._job, self._trainer, self.progress = job, trainer, progress
        self._first = first
        self.step = first
        self._machine = jax_devices.machine(trainer.model.mesh)
        self.shards = jax_devices.row_shards(trainer.model.mesh)
        self._tokens = 0  # of the step that is being fed
        self._ids: list[tuple[str, ...]] = []  # of its micro-batches
        self._losses: list[Any] = []
        self._compiled: set[tuple[int, ...]] = set()  # shapes of `tokens`
        self.in_flight = InFlight(progress, depth=int(not jax_devices.is_cpu()))

    def feeds(self, batch: Batch) -> None:
        """Count a micro-batch that is about to be started."""
        if not self._ids:
            jax_compilation.take()  # discards what an evaluation or samples compiled
        if batch.tokens.shape not in self._compiled:
            self.in_flight.drain()  # else compiling would count as time of the step before
            self._compiled.add(batch.tokens.shape)
        self._tokens += int(batch.lengths.sum())
        self._ids.append(batch.ids)

    def ran(self, loss: Any, norm: Any) -> None:
        """A micro-batch was started."""
        self._losses.append(loss)
        if len(self._losses) < self._job.config.accumulation:
            return
        self.step += 1
        numbers = self._losses, norm
        self.in_flight.add(
            Step(
                self.step,
                self._tokens,
                self._ids,
                partial(_ready, numbers),
                partial(_fetched, numbers),
                jax_compilation.take(),
            )
        )
        self._losses, self._tokens, self._ids = [], 0, []

    def save(self, step: int, *states: Any, force: bool = False, **options: Any) -> bool:
        """Tunix, after each optimizer step and, with `force`, at the end: evaluate and save where due."""
        del step, states, options
        progress = self.progress
        if not force and progress.evaluation_due(self.step):
            self.in_flight.drain()
            self._evaluate()
            progress.sampled(self.step, self._answer)
        if not (force or progress.checkpoint_due(self.step)):
            return False
        self.in_flight.drain()
        progress.save(self.step, jax_state.tensors(state_of(self._trainer)), self._machine)
        return True

    def latest_step(self) -> int:
        """Tunix counts the steps of this process; a state in which it has trained none needs no checkpoint."""
        return 0 if self.progress.saved_step is None else self.progress.saved_step - self._first

    def close(self) -> None:
        """Tunix, after the last step, which `Feed` has had reported."""

    def _evaluate(self) -> None:
        _, evaluate = self._trainer.jit_train_and_eval_step(cache_nnx_graph=True)
        batches = self._job.batches.evaluation
        sums = [evaluate(jax_step.inputs(batch, shards=self.shards))[1] for batch in batches]
        tokens = sum(int(batch.supervised[:, 1:].sum()) for batch in batches)
        self.progress.evaluated(self.step, math.fsum(float(value) for value in jax.device_get(sums)) / tokens, tokens)

    def _answer(self, prompts: list[list[int]], sampling: Sampling) -> list[Generated]:
        return jax_generation.generate(self._trainer.model, prompts, sampling, lambda _: None)


def _ready(numbers: tuple[list[Any], Any]) -> bool:
    return all(array.is_ready() for array in jax.tree.leaves(numbers))


def _fetched(numbers: tuple[list[Any], Any]) -> tuple[list[float], float]:
    losses, norm = jax.device_get(numbers)
    return [float(loss) for loss in losses], float(norm)


class Feed(hooks.DataHooks):  # type: ignore[misc]  # tunix is untyped
    """Batches by index; none once all steps are done or the training shall stop."""

    def __init__(self, job: Job, steps: Steps) -> None:
        self._job = job
        self._steps = steps
        self._micro = 0

    def load_next_train_batch(self, _: Any) -> dict[str, Any] | None:
        job, steps, progress = self._job, self._steps, self._steps.progress
        if self._micro == 0 and (steps.step == job.total_steps or progress.stopping):
            steps.in_flight.drain()  # before Tunix waits for the device, which would hide when the last step ended
            return None
        batch = job.batches.training(steps.step + 1, self._micro)
        steps.feeds(batch)
        self._micro = (self._micro + 1) % job.config.accumulation
        inputs = jax_step.inputs(batch, progress.rate(steps.step + 1), steps.shards)
        # What still waits for its inputs is not computed at once (see `jax_devices`).
        return jax.block_until_ready(jax.device_put(inputs)) if jax_devices.is_one_cpu() else inputs

    def load_next_eval_batch(self, _: Any) -> None:
        return None
