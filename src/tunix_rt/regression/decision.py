"""The decision of a gate: non-inferiority within a margin, from paired differences. Pure.

A gate asks one-sided: is the new model worse by more than the margin? As in a non-inferiority trial (Piaggio,
Elbourne, Pocock, Evans and Altman 2012, "Reporting of noninferiority and equivalence randomized trials: extension of
the CONSORT 2010 statement", figure 1) the answer is where the 95 % interval lies, not whether p is small:

    pass          the whole interval lies above -margin: not worse, or not by enough to matter
    fail          the whole interval lies below -margin, and the test says that it is no chance (p < 0.05)
    inconclusive  the interval holds -margin: this n cannot tell

Tokens and seconds, whose size has no bound, are never decided by fewer than 30 items.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.statistics import Interval
from tunix_rt.regression.schemas import Decision


@dataclass(frozen=True)
class Decided:
    """What a gate says.

    Attributes:
        gain: mean of the differences, the good direction being positive; None for n = 0.
        ci: its paired bootstrap interval.
        p_value: of `test`.
        sufficient_n: items that would have decided it 4 times in 5; None where it is decided, or none would.
    """

    verdict: Decision
    gain: float | None
    ci: Interval | None
    p_value: float | None
    test: str
    sufficient_n: int | None


def decide(
    gains: NDArray[np.float64], margin: float, shares: bool, seed: int = 0, resamples: int = statistics.RESAMPLES
) -> Decided:
    """Decide from paired differences.

    Args:
        gains: float64 (N,); one an item, positive where the new model is the better one.
        margin: a loss up to this does not matter; 0 or more.
        shares: whether the values lie between 0 and 1, as scores do.
        seed: of the bootstrap, and of the test where it has to be drawn.
        resamples: of the bootstrap.
    """
    n = len(gains)
    p_value, test = statistics.sign_flip(gains, seed)
    limit = 1.0 if shares else math.inf
    ci = statistics.bootstrap(gains, seed, resamples=resamples, limit=limit)
    if ci is None:
        return Decided("inconclusive", None, None, None, test, None)
    verdict: Decision = "inconclusive"
    if shares or n >= statistics.ESTABLISHED:
        if ci[0] > -margin:
            verdict = "pass"
        elif ci[1] < -margin and p_value < statistics.ALPHA:
            verdict = "fail"
    mean, enough = float(gains.mean()), None
    if verdict == "inconclusive":
        enough = statistics.sufficient(mean, float((gains**2).mean()), -margin, statistics.typical(gains, limit))
        enough = enough and max(enough, n + 1, 0 if shares else statistics.ESTABLISHED)
    return Decided(verdict, mean, ci, p_value, test, enough)
