"""What Tunix asks and is asked around a step: `Feed` are its data hooks, `Steps` is its checkpoint manager."""

import math
from collections import deque
from typing import Any, NamedTuple

import jax
from flax import nnx
from tunix.sft import hooks

from tunix_rt.training.engines import Generated, Job, Sampling, jax_devices, jax_generation, jax_state, jax_step
from tunix_rt.training.engines.progress import Progress


def state_of(trainer: Any) -> dict[str, Any]:
    """All that a step changes."""
    return {"parameters": nnx.state(trainer.model, trainer.model.trained), "optimizer": nnx.state(trainer.optimizer)}


class _Pending(NamedTuple):
    """A step that was started: its micro-batches' losses and its norm are still being computed."""

    step: int
    tokens: int
    losses: list[Any]
    norm: Any
    ids: list[tuple[str, ...]]


class Steps:
    """Brings Tunix and `Progress` together. To Tunix it is the checkpoint manager.

    A step's numbers are fetched once the next one has been started, so the device never waits for them.
    """

    def __init__(self, job: Job, trainer: Any, progress: Progress, first: int) -> None:
        self._job, self._trainer, self.progress = job, trainer, progress
        self._first = first
        self.step = first
        self._machine = jax_devices.machine(trainer.model.mesh)
        self.shards = jax_devices.row_shards(trainer.model.mesh)
        self.tokens = 0  # of the step that is being fed
        self.ids: list[tuple[str, ...]] = []  # of its micro-batches
        self._losses: list[Any] = []
        self._pending: deque[_Pending] = deque()

    def ran(self, loss: Any, norm: Any) -> None:
        """A micro-batch was started."""
        self._losses.append(loss)
        if len(self._losses) < self._job.config.accumulation:
            return
        self.step += 1
        self._pending.append(_Pending(self.step, self.tokens, self._losses, norm, self.ids))
        self._losses, self.tokens, self.ids = [], 0, []
        if len(self._pending) > 1:
            self._tell(self._pending.popleft())

    def save(self, step: int, *states: Any, force: bool = False, **options: Any) -> bool:
        """Tunix, after each optimizer step and, with `force`, at the end: evaluate and save where due."""
        del step, states, options
        progress = self.progress
        if not force and progress.evaluation_due(self.step):
            self._tell_all()
            self._evaluate()
            progress.sampled(self.step, self._answer)
        if not (force or progress.checkpoint_due(self.step)):
            return False
        self._tell_all()
        progress.save(self.step, jax_state.tensors(state_of(self._trainer)), self._machine)
        return True

    def latest_step(self) -> int:
        """Tunix counts the steps of this process; a state in which it has trained none needs no checkpoint."""
        return 0 if self.progress.saved_step is None else self.progress.saved_step - self._first

    def close(self) -> None:
        self._tell_all()

    def _tell_all(self) -> None:
        while self._pending:
            self._tell(self._pending.popleft())

    def _tell(self, pending: _Pending) -> None:
        losses = [float(value) for value in jax.device_get(pending.losses)]
        self.progress.stepped(pending.step, pending.tokens, losses, float(pending.norm), pending.ids)

    def _evaluate(self) -> None:
        _, evaluate = self._trainer.jit_train_and_eval_step(cache_nnx_graph=True)
        batches = self._job.batches.evaluation
        sums = [evaluate(jax_step.inputs(batch, shards=self.shards))[1] for batch in batches]
        tokens = sum(int(batch.supervised[:, 1:].sum()) for batch in batches)
        self.progress.evaluated(self.step, math.fsum(float(value) for value in jax.device_get(sums)) / tokens, tokens)

    def _answer(self, prompts: list[list[int]], sampling: Sampling) -> list[Generated]:
        return jax_generation.generate(self._trainer.model, prompts, sampling, lambda _: None)


class Feed(hooks.DataHooks):  # type: ignore[misc]  # tunix is untyped
    """Batches by index; none once all steps are done or the training shall stop."""

    def __init__(self, job: Job, steps: Steps) -> None:
        self._job = job
        self._steps = steps
        self._micro = 0

    def load_next_train_batch(self, _: Any) -> dict[str, Any] | None:
        job, steps, progress = self._job, self._steps, self._steps.progress
        if self._micro == 0 and (steps.step == job.total_steps or progress.stopping):
            return None
        batch = job.batches.training(steps.step + 1, self._micro)
        steps.tokens += int(batch.lengths.sum())
        steps.ids.append(batch.ids)
        self._micro = (self._micro + 1) % job.config.accumulation
        inputs = jax_step.inputs(batch, progress.rate(steps.step + 1), steps.shards)
        # What still waits for its inputs is not computed at once (see `jax_devices`).
        return jax.block_until_ready(jax.device_put(inputs)) if jax_devices.is_one_cpu() else inputs

    def load_next_eval_batch(self, _: Any) -> None:
        return None
