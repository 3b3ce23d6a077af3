"""What every engine says and decides around its steps: events, guards, evaluation, checkpoints, the end.

An engine computes; it tells `Progress` of each finished step and evaluation and asks it what is due.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import Failed
from tunix_rt.training.engines import Generated, Job, Outcome, Sampling, checkpoints, schedule
from tunix_rt.training.engines.guards import Guards

_NAMED_ROWS = 8  # of a broken batch; enough to look at, and they fit on a few lines
_LOWER = "Lower learning_rate or lengthen warmup_steps; checkpoints before this step are kept."


def resumed(job: Job, machine: Mapping[str, Any]) -> checkpoints.Header | None:
    """Check the checkpoint that a training goes on from; None from the start. Another machine is told as a warning.

    Raises:
        NotFound, BadInput, Conflict: as `checkpoints.check` does.
    """
    if job.resume_from is None:
        return None
    header = checkpoints.check(job.resume_from, job.fingerprint)
    changed = {
        name: [header.machine.get(name), now] for name, now in machine.items() if header.machine.get(name) != now
    }
    if changed:
        detail = "resumed on another machine: the losses may differ in their last digits"
        job.emit("warning", kind="machine", detail=detail, changed=changed)
    return header


class Progress:
    """A training's way from one step to the next.

    Args:
        job: what is trained.
        first_step: finished steps at the start.
        saved_state: `Header.progress` of the checkpoint that is resumed; None at the start.
        clock: monotonic time in seconds; None: `time.perf_counter`.

    Attributes:
        clock: monotonic time in seconds.
        finished_at: end of the newest step, evaluation, samples or checkpoint, by `clock`.
        best_step: the step of the lowest evaluation loss so far; None before the first one.
        saved_step: of the newest checkpoint of this training; None where there is none.
    """

    def __init__(
        self,
        job: Job,
        first_step: int = 0,
        saved_state: Mapping[str, Any] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        state = saved_state or {}
        self._job, self.clock = job, clock or time.perf_counter
        self._guards = Guards(job.total_steps, state.get("guards"))
        self._best_loss: float = state.get("best_loss", math.inf)
        self.best_step: int | None = state.get("best_step")
        self._without_best: int = state.get("evaluations_without_best", 0)
        self.saved_step: int | None = None if job.resume_from is None else first_step
        self.finished_at = self.clock()

    def state(self) -> dict[str, Any]:
        """What `saved_state` is after a resume, for a checkpoint's header."""
        best = {} if self.best_step is None else {"best_loss": self._best_loss, "best_step": self.best_step}
        return {"guards": self._guards.state(), **best, "evaluations_without_best": self._without_best}

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1."""
        return schedule.learning_rate(self._job.config, self._job.total_steps, step)

    @property
    def stopped_early(self) -> bool:
        """Whether early_stopping_evals evaluations in a row have brought no lowest loss: the training is complete."""
        patience = self._job.config.early_stopping_evals
        return patience is not None and self._without_best >= patience

    @property
    def stopping(self) -> bool:
        """Whether no further step shall begin: the user's wish, or early stopping."""
        return self.stopped_early or self._job.stopping()

    def stepped(
        self,
        step: int,
        tokens: int,
        losses: Sequence[float],
        norm: float,
        ids: Sequence[Sequence[str]] = (),
        ended_at: float | None = None,
        compile_seconds: float = 0.0,
    ) -> None:
        """A step was finished: tell it, and look at it.

        Args:
            step: from 1.
            tokens: that were computed, padding left out.
            losses: of each micro-batch, as a share of the step's: their mean is the step's loss.
            norm: of the whole step's gradient, before it was clipped.
            ids: of the traces in each micro-batch.
            ended_at: time by `clock` at which the device finished the step; None: now.
            compile_seconds: time spent on compiling the step before it started; not counted in `step_seconds`.

        Raises:
            Failed: a loss or the norm is not finite.
        """
        add = math.fsum if all(map(math.isfinite, losses)) else sum  # fsum raises for inf - inf
        loss = add(losses) / len(losses)
        seconds = self._lap(ended_at)
        if compile_seconds < seconds:  # false if the wall clock, by which JAX times compilations, was set meanwhile
            seconds -= compile_seconds
        self._job.emit(
            "step",
            step=step,
            epoch=self._job.batches.epoch(step),
            loss=loss,
            learning_rate=self.rate(step),
            grad_norm=norm,
            tokens=tokens,
            tokens_per_second=tokens / seconds,
            step_seconds=seconds,
            **({"compile_seconds": compile_seconds} if compile_seconds else {}),
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Failed(
                f"Step {step}: the loss is {loss}, the gradient's norm {norm}; the training has diverged"
                f"{_rows(losses, ids)}.",
                hint=_LOWER,
            )
        for warning in self._guards.stepped(step, loss, seconds):
            self._job.emit("warning", **warning)

    def evaluation_due(self, step: int) -> bool:
        """Whether the evaluation loss is to be computed after a step; False where there is no evaluation split."""
        due = step % self._job.config.eval_every_steps == 0 or step == self._job.total_steps
        return due and len(self._job.batches.evaluation) > 0

    def evaluated(self, step: int, loss: float, tokens: int) -> None:
        """The evaluation loss after a step was computed: tell it, and judge it.

        Args:
            step: finished steps.
            loss: mean over the supervised tokens of the evaluation split.
            tokens: so many.

        Raises:
            Failed: it is not finite.
        """
        self._job.emit("eval", step=step, loss=loss, tokens=tokens)
        if not math.isfinite(loss):
            raise Failed(f"Step {step}: the evaluation loss is {loss}; the training has diverged.", hint=_LOWER)
        if loss < self._best_loss:
            self._best_loss, self.best_step, self._without_best = loss, step, 0
        else:
            self._without_best += 1
        self._lap()

    def sampled(self, step: int, answer: Callable[[list[list[int]], Sampling], Sequence[Generated]]) -> None:
        """Have the samples' prompts answered after a step and its evaluation, and tell the answers.

        Args:
            step: finished steps.
            answer: of the engine, by the parameters after the step; must leave the training as it is.
        """
        samples = self._job.samples
        if samples is None:
            return
        answers = answer(samples.tokens, samples.sampling)
        for prompt, found in zip(samples.prompts, answers, strict=True):
            said = {"output": samples.decode(found.tokens), "finish_reason": found.finish_reason}
            self._job.emit("sample", step=step, prompt=prompt, **said)
        self._lap()

    def checkpoint_due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved after a step (and its evaluation); to be asked once a step.

        It is at every checkpoint_every_steps, at the end, at a new best where that is kept, and where the user wishes.
        What is saved when the training stops is the engine's to ask: `saved_step` says whether it is there already.
        """
        config, wished = self._job.config, self._job.saving()
        last = step == self._job.total_steps or self.stopped_early
        best = config.keep_best and self.best_step == step
        due = wished or last or best or step % config.checkpoint_every_steps == 0
        return due and self.saved_step != step

    def save(self, step: int, tensors: Mapping[str, checkpoints.Tensor], machine: Mapping[str, Any]) -> None:
        """Write the checkpoint of a step and tell it.

        Args:
            step: finished steps.
            tensors: the state after it.
            machine: what decides the last bits of sums.

        Raises:
            DiskFull: the earlier checkpoints are untouched.
        """
        job = self._job
        best = self.best_step if job.config.keep_best else None
        header = checkpoints.Header(step, job.fingerprint, machine, self.state())
        path = checkpoints.save(job.folder, header, tensors, job.config.keep_checkpoints, best)
        self.saved(step, path)

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint lies on the disk: tell it."""
        best = {"best": True} if self._job.config.keep_best and step == self.best_step else {}
        self._job.emit("checkpoint", step=step, path=path.relative_to(self._job.folder).as_posix(), **best)
        self.saved_step = step
        self._lap()

    def outcome(self, step: int) -> tuple[Outcome, Path | None]:
        """How the training ended, once no further step is to begin.

        Args:
            step: finished steps.

        Returns:
            The outcome, and the checkpoint whose parameters are the result; None: the present ones, or no result.

        Raises:
            BadInput: that checkpoint is damaged.
        """
        if step < self._job.total_steps and not self.stopped_early:
            return Outcome("stopped", step), None
        best = self.best_step if self._job.config.keep_best else None
        outcome = Outcome("completed", step, self.stopped_early and step < self._job.total_steps, best)
        if best in (None, step):
            return outcome, None
        path = checkpoints.path_of(self._job.folder, best or 0)
        checkpoints.check(path, self._job.fingerprint)
        return outcome, path

    def _lap(self, ended_at: float | None = None) -> float:
        """Set `finished_at` (None: to now) and return the seconds since its last value."""
        before, self.finished_at = self.finished_at, self.clock() if ended_at is None else ended_at
        return self.finished_at - before


def _rows(losses: Sequence[float], ids: Sequence[Sequence[str]]) -> str:
    """Which micro-batches are not finite, and the traces in them."""
    if not any(ids):
        return ""
    broken = [number for number, loss in enumerate(losses) if not math.isfinite(loss)] or list(range(len(losses)))
    parts = []
    for number in broken:
        names = ", ".join(ids[number][:_NAMED_ROWS])
        more = f" and {len(ids[number]) - _NAMED_ROWS} more" if len(ids[number]) > _NAMED_ROWS else ""
        parts.append(f"micro-batch {number + 1} of {len(losses)}: traces {names}{more}")
    return "; " + "; ".join(parts[:4]) + ("; ..." if len(parts) > 4 else "")
