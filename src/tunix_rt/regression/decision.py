"""The decision of a gate: non-inferiority within a margin, from paired differences. Pure.

A gate asks one-sided: is the new model worse by more than the margin? As in a non-inferiority trial (Piaggio,
Elbourne, Pocock, Evans and Altman 2012, "Reporting of noninferiority and equivalence randomized trials: extension of
the CONSORT 2010 statement", figure 1) the answer is where the 95 % interval lies, not whether p is small:

    pass          the whole interval lies above -margin: not worse, or not by enough to matter
    fail          the whole interval lies below -margin, and the test says that it is no chance (p < 0.05)
    inconclusive  the interval holds -margin: this n cannot tell

Scores have two intervals, the paired bootstrap and that of Bonett and Price, which stays honest where few items
changed; both must agree. Tokens and seconds have the bootstrap alone, which is too short for few items: below 30 they
are never decided.
"""

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
        ci: its paired bootstrap interval. adjusted_ci: Bonett and Price's, of scores only.
        p_value: of `test`.
        sufficient_n: items that would have decided it 4 times in 5; None where it is decided, or none would.
    """

    verdict: Decision
    gain: float | None
    ci: Interval | None
    adjusted_ci: Interval | None
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
    ci = statistics.bootstrap(gains, seed, resamples=resamples)
    if ci is None:
        return Decided("inconclusive", None, None, None, None, test, None)
    total, squares = float(gains.sum()), float((gains**2).sum())
    around = statistics.adjusted(total, squares, n) if shares else None
    intervals = [ci] if around is None else [ci, around]
    verdict: Decision = "inconclusive"
    if shares or n >= statistics.ESTABLISHED:
        if all(low > -margin for low, _ in intervals):
            verdict = "pass"
        elif all(high < -margin for _, high in intervals) and p_value < statistics.ALPHA:
            verdict = "fail"
    enough = None
    if verdict == "inconclusive":
        enough = statistics.sufficient(total / n, squares / n, -margin, added=2 if shares else 0)
        enough = enough and max(enough, n + 1, 0 if shares else statistics.ESTABLISHED)
    return Decided(verdict, total / n, ci, around, p_value, test, enough)
