"""What watches the training loss and the time of a step, and says when either looks wrong; never stops a training."""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

SMOOTHED_STEPS = 20
"""A loss is judged by the mean of this many steps: single batches of a small model differ by half of it."""
DIVERGING_RATIO, DIVERGING_NATS = 1.5, 0.5
"""How far over its lowest the smoothed loss diverges: by this factor and by so much (near 0 it doubles easily)."""
RECOVERED_RATIO = 1.2
"""Below this much of its lowest an episode of divergence is over, and the next one is told again."""
STALL_SHARE, STALL_STEPS = 1 / 3, 300
"""A loss has stalled after this share of all steps without a new lowest, at least after so many: a warm-up and a
plateau of induction (arXiv:2209.11895) are shorter in the trainings that we have seen."""
STALL_IMPROVEMENT = 0.01
"""A lowest loss is a new one where it is this share below the one before; less is noise."""
SLOW_RATIO, SLOW_SECONDS = 10.0, 30.0
"""A step hangs where it takes this many times the median and this much longer: on a busy machine a step may take
seconds more."""
TIMED_STEPS = 50
"""Steps whose median time counts."""


class Guards:
    """Watches a training, step by step.

    Args:
        total_steps: of the training.
        state: of an earlier `state()`, to go on with.
    """

    def __init__(self, total_steps: int, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._stall_steps = max(STALL_STEPS, round(total_steps * STALL_SHARE))
        self._recent: deque[float] = deque(state.get("recent", []), SMOOTHED_STEPS)
        self._lowest: float = state.get("lowest", math.inf)
        self._lowest_step: int = state.get("lowest_step", 0)
        self._diverging: bool = state.get("diverging", False)
        self._stalled: bool = state.get("stalled", False)
        self._seconds: deque[float] = deque(maxlen=TIMED_STEPS)  # of this machine, so not kept

    def state(self) -> dict[str, Any]:
        """What a resumed training goes on with, for JSON."""
        lowest = {"lowest": self._lowest, "lowest_step": self._lowest_step} if self._lowest < math.inf else {}
        return {"recent": list(self._recent), **lowest, "diverging": self._diverging, "stalled": self._stalled}

    def stepped(self, step: int, loss: float, seconds: float) -> list[dict[str, Any]]:
        """Look at a finished step.

        Args:
            step: its number.
            loss: finite.
            seconds: since the one before.

        Returns:
            The fields of each `warning` event that it gives cause for; each episode is told once, when it begins.
        """
        return [found for found in (self._slow(step, seconds), *self._losses(step, loss)) if found]

    def _slow(self, step: int, seconds: float) -> dict[str, Any] | None:
        median = statistics.median(self._seconds) if self._seconds else math.inf
        self._seconds.append(seconds)
        if seconds <= SLOW_RATIO * median or seconds <= median + SLOW_SECONDS:
            return None
        return {
            "kind": "slow_step",
            "detail": f"step {step} took {seconds:.0f} s, the median is {median:.3g} s: the device or the disk hung, "
            "or the machine is short of memory",
            "step": step,
            "seconds": seconds,
            "median_seconds": median,
        }

    def _losses(self, step: int, loss: float) -> list[dict[str, Any]]:
        self._recent.append(loss)
        if len(self._recent) < SMOOTHED_STEPS:
            return []
        smoothed, found = math.fsum(self._recent) / SMOOTHED_STEPS, []
        figures = {"step": step, "loss": smoothed, "lowest": self._lowest, "lowest_step": self._lowest_step}
        if smoothed > DIVERGING_RATIO * self._lowest and smoothed > self._lowest + DIVERGING_NATS:
            if not self._diverging:
                found.append(
                    {
                        "kind": "divergence",
                        "detail": f"the loss rose to {smoothed:.4g} (mean of {SMOOTHED_STEPS} steps) from "
                        f"{self._lowest:.4g} at step {self._lowest_step}: lower learning_rate or clip_norm",
                        **figures,
                    }
                )
            self._diverging = True
        elif smoothed < RECOVERED_RATIO * self._lowest:
            self._diverging = False
        if smoothed < self._lowest * (1 - STALL_IMPROVEMENT) or self._lowest == math.inf:
            self._lowest, self._lowest_step, self._stalled = smoothed, step, False
        elif step - self._lowest_step >= self._stall_steps and not self._stalled:
            self._stalled = True
            found.append(
                {
                    "kind": "stall",
                    "detail": f"the loss has not fallen for {step - self._lowest_step} steps: {smoothed:.4g} (mean of "
                    f"{SMOOTHED_STEPS} steps), {self._lowest:.4g} at step {self._lowest_step}",
                    **figures,
                }
            )
        return found
