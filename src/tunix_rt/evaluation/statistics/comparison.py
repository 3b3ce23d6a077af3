"""Two models on the same items: their difference, its interval, the test, and what they allow us to say."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunix_rt.evaluation.statistics.intervals import RESAMPLES, Interval, bootstrap
from tunix_rt.evaluation.statistics.paired import ALPHA, MCNEMAR, detectable, sign_flip

MARGIN = 0.02
ESTABLISHED = 30  # items below which a figure is shown as not established

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items.

    Attributes:
        n: pairs that both have a score.
        a: mean score of the first; b: of the second; difference: b - a. None for n = 0.
        ci: paired bootstrap interval of the difference.
        p_value: of `test`.
        fixed: pairs whose score rose; broken: that fell.
        squares: sum of the squared differences; for right and wrong: fixed and broken together.
        detectable: what a pair of such models would have needed to differ by to be told apart.
    """

    n: int
    a: float | None
    b: float | None
    difference: float | None
    ci: Interval | None
    p_value: float | None
    test: str
    fixed: int
    broken: int
    squares: float
    verdict: Verdict
    detectable: float | None


def compare(
    a: NDArray[np.float64], b: NDArray[np.float64], margin: float = MARGIN, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two models on the same items.

    Args:
        a: float64 (N,); scores of the first, 0 to 1, NaN where unscored.
        b: the second's, in the same order.
        margin: a difference up to this share does not matter.
        seed: of the bootstrap, and of the test where it has to be drawn.
        resamples: of the bootstrap.

    Raises:
        ValueError: a score below 0 or above 1.
    """
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not all(((side >= 0) & (side <= 1)).all() for side in (a, b)):
        raise ValueError("scores must lie between 0 and 1")
    n = len(a)
    if n == 0:
        return Comparison(0, None, None, None, None, None, MCNEMAR, 0, 0, 0.0, "inconclusive", None)
    differences = b - a
    differences[np.abs(differences) < 1e-12] = 0.0  # means that were added up in another order
    total, squares = float(differences.sum()), float((differences**2).sum())
    ci = bootstrap(differences, seed, resamples=resamples)
    p, test = sign_flip(differences, seed)
    return Comparison(
        n=n,
        a=float(a.sum()) / n,
        b=float(b.sum()) / n,
        difference=total / n,
        ci=ci,
        p_value=p,
        test=test,
        fixed=int((differences > 0).sum()),
        broken=int((differences < 0).sum()),
        squares=squares,
        verdict=verdict(p, ci, margin),
        detectable=detectable(squares, n),
    )


def verdict(p_value: float | None, ci: Interval | None, margin: float = MARGIN) -> Verdict:
    """What the figures allow us to say of the second against the first.

    `better` or `worse`: p below 0.05 and the interval excludes 0 on that side. `equivalent`: neither, and the
    interval lies within the margin on either side of 0. Else `inconclusive`, which is an answer too: also where the
    interval just excludes 0 and the exact test, which never claims more than its 5 %, does not reach p < 0.05.
    """
    if p_value is None or ci is None:
        return "inconclusive"
    if p_value < ALPHA and ci[0] > 0:
        return "better"
    if p_value < ALPHA and ci[1] < 0:
        return "worse"
    return "equivalent" if -margin <= ci[0] and ci[1] <= margin else "inconclusive"
