"""What happens around a step: its data, its events, evaluation, checkpoints.

To Tunix, `Feed` are its data hooks and `Progress` is its checkpoint manager.
"""

import math
import time
from collections import deque
from typing import Any, NamedTuple

import jax
from flax import nnx
from tunix.sft import hooks

from tunix_rt.base.errors import Failed
from tunix_rt.training.engines import Job, jax_checkpoint, jax_devices, jax_step


def state_of(trainer: Any) -> dict[str, Any]:
    """All that a step changes."""
    return {"parameters": nnx.state(trainer.model, nnx.Param), "optimizer": nnx.state(trainer.optimizer)}


class _Pending(NamedTuple):
    """A step that was started: its micro-batches' losses and its norm are still being computed."""

    step: int
    tokens: int
    losses: list[Any]
    norm: Any


class Progress:
    """What happens around a step: events, evaluation, checkpoints. To Tunix it is the checkpoint manager.

    A step's numbers are fetched once the next one has been started, so the device never waits for them.
    """

    def __init__(self, job: Job, trainer: Any, first: int, saved: int | None) -> None:
        self._job = job
        self._trainer = trainer
        self._first = first
        self._saved = saved
        self.step = first
        self.tokens = 0  # of the step that is being fed
        self._losses: list[Any] = []
        self._pending: deque[_Pending] = deque()
        self._finished_at = time.perf_counter()

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return jax_step.learning_rate(self._job.config, self._job.total_steps, step)

    def ran(self, loss: Any, norm: Any) -> None:
        """A micro-batch was started."""
        self._losses.append(loss)
        if len(self._losses) < self._job.config.accumulation:
            return
        self.step += 1
        self._pending.append(_Pending(self.step, self.tokens, self._losses, norm))
        self._losses, self.tokens = [], 0
        if len(self._pending) > 1:
            self._tell(self._pending.popleft())

    def save(self, step: int, *states: Any, force: bool = False, **options: Any) -> bool:
        """Tunix, after each optimizer step and, with `force`, at the end: evaluate and save where due."""
        del step, states, options
        job, config, last = self._job, self._job.config, self.step == self._job.total_steps
        evaluate = not force and (self.step % config.eval_every_steps == 0 or last)
        keep = force or self.step % config.checkpoint_every_steps == 0 or last
        if not evaluate and not keep:
            return False
        self._tell_all()
        if evaluate and len(job.batches.evaluation):
            self._evaluate()
        if keep:
            self._save()
        self._finished_at = time.perf_counter()
        return keep

    def latest_step(self) -> int:
        """Tunix counts the steps of this process; a state in which it has trained none needs no checkpoint."""
        return 0 if self._saved is None else self._saved - self._first

    def close(self) -> None:
        self._tell_all()

    def _tell_all(self) -> None:
        while self._pending:
            self._tell(self._pending.popleft())

    def _tell(self, pending: _Pending) -> None:
        losses = [float(value) for value in jax.device_get(pending.losses)]
        loss, norm = math.fsum(losses) / len(losses), float(pending.norm)
        now = time.perf_counter()
        seconds, self._finished_at = now - self._finished_at, now
        self._job.emit(
            "step",
            step=pending.step,
            epoch=self._job.batches.epoch(pending.step),
            loss=loss,
            learning_rate=self.rate(pending.step),
            grad_norm=norm,
            tokens=pending.tokens,
            tokens_per_second=pending.tokens / seconds,
            step_seconds=seconds,
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Failed(
                f"Step {pending.step}: the loss is {loss}, the gradient's norm {norm}; the training has diverged.",
                hint="Lower learning_rate or lengthen warmup_steps; checkpoints before this step are kept.",
            )

    def _evaluate(self) -> None:
        _, evaluate = self._trainer.jit_train_and_eval_step(cache_nnx_graph=True)
        batches = self._job.batches.evaluation
        sums = [evaluate(jax_step.inputs(batch))[1] for batch in batches]
        tokens = sum(int(batch.supervised[:, 1:].sum()) for batch in batches)
        loss = math.fsum(float(value) for value in jax.device_get(sums)) / tokens
        self._job.emit("eval", step=self.step, loss=loss, tokens=tokens)
        if not math.isfinite(loss):
            raise Failed(
                f"Step {self.step}: the evaluation loss is {loss}; the training has diverged.",
                hint="Lower learning_rate or lengthen warmup_steps; checkpoints before this step are kept.",
            )

    def _save(self) -> None:
        job, trainer = self._job, self._trainer
        header = jax_checkpoint.Header(self.step, job.fingerprint, jax_devices.machine())
        path = jax_checkpoint.save(job.folder, header, state_of(trainer), job.config.keep_checkpoints)
        self._saved = self.step
        job.emit("checkpoint", step=self.step, path=path.relative_to(job.folder).as_posix())


class Feed(hooks.DataHooks):  # type: ignore[misc]  # tunix is untyped
    """Batches by index; none once all steps are done or the training shall stop."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self._job = job
        self._progress = progress
        self._micro = 0

    def load_next_train_batch(self, _: Any) -> dict[str, Any] | None:
        job, progress = self._job, self._progress
        if self._micro == 0 and (progress.step == job.total_steps or job.stopping()):
            return None
        batch = job.batches.training(progress.step + 1, self._micro)
        progress.tokens += int(batch.lengths.sum())
        self._micro = (self._micro + 1) % job.config.accumulation
        return jax_step.inputs(batch, progress.rate(progress.step + 1))

    def load_next_eval_batch(self, _: Any) -> None:
        return None
