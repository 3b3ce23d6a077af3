"""Queue of started, unreported steps: it keeps an accelerator busy and dates the end of each step's own work."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tunix_rt.training.engines.progress import Progress


class Step(NamedTuple):
    """A started optimizer step.

    Attributes:
        step: from 1.
        tokens: without padding.
        ids: traces of each micro-batch.
        ended: returns whether the device has finished the step; never blocks.
        numbers: blocks until the device has finished the step; returns the loss of each micro-batch and the norm of
            the whole gradient.
        compile_seconds: time spent on compiling the step before it started.
    """

    step: int
    tokens: int
    ids: Sequence[Sequence[str]]
    ended: Callable[[], bool]
    numbers: Callable[[], tuple[Sequence[float], float]]
    compile_seconds: float = 0.0


class InFlight:
    """Report steps in order, each with the time at which the device finished it.

    Args:
        progress: receives the reports.
        depth: steps that stay unreported while the host prepares and starts the next one. 1 on an accelerator; 0 where
            the call that starts a step returns when it is finished.
    """

    def __init__(self, progress: Progress, depth: int) -> None:
        self._progress, self._depth = progress, depth
        self._steps: deque[tuple[Step, float]] = deque()

    @property
    def idle(self) -> bool:
        """Whether the device has finished every step."""
        return all(step.ended() for step, _ in self._steps)

    def add(self, step: Step) -> None:
        """Queue a step that was just started, and report the oldest ones beyond `depth`."""
        self._steps.append((step, self._progress.clock()))
        while len(self._steps) > self._depth:
            self._report()

    def drain(self) -> None:
        """Report every step: before an evaluation, a checkpoint, a compilation, or the end."""
        while self._steps:
            self._report()

    def _report(self) -> None:
        step, started = self._steps.popleft()
        clock, progress = self._progress.clock, self._progress
        now, ended = clock(), step.ended()
        losses, norm = step.numbers()
        # A step that ended while the host prepared the next one ended at an unknown time in between, of which this is
        # the middle. `now` would be too late: it would leave the last step before a drain almost no time.
        ended_at = (max(started, progress.finished_at) + now) / 2 if ended else clock()
        progress.stepped(step.step, step.tokens, losses, norm, step.ids, ended_at, step.compile_seconds)
