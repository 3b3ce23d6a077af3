"""Intervals of shares, means and paired differences.

Axes: `N` items, `R` resamples. Without items there is no interval: None, never NaN.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_DISTINCT = 50  # values, up to which counts are drawn instead of items

Interval = tuple[float, float]


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of a share (Wilson 1927), without continuity correction.

    Args:
        successes: sum of the scores. With scores between 0 and 1 the interval is conservative, since a score of a
            given mean varies most when it is 0 or 1.
        n: how many were scored; an effective number need not be whole.
        confidence: share of such intervals that hold the true value.

    Returns:
        (low, high) within 0 to 1; None for n = 0.
    """
    if n == 0:
        return None
    z = _z(confidence)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, share * (1 - share) / n + z * z / (4 * n * n)))
    low = 0.0 if successes <= 0 else max(0.0, middle - half)
    high = 1.0 if successes >= n else min(1.0, middle + half)
    return min(low, share), max(high, share)


def clustered(total: float, squares: float, n: int, draws: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's interval of the mean of items that were drawn several times, the item being the unit of chance.

    Shares of right and wrong have the largest spread that their mean allows. Item scores that spread less are worth
    more than n throws of a coin, `p (1 - p) / variance of the mean`: the effective sample size of Korn and Graubard
    (1998), put into Wilson's interval as Franco, Little, Louis and Slud (2019) recommend. It is never below n, and
    never taken to be more than all draws, which is what it would be if the draws of an item were independent.

    Args:
        total: of the item scores, each the mean of its samples, 0 to 1. squares: of their squares.
        n: items.
        draws: samples of all items together; n where each was drawn once, and the interval is then Wilson's.
        confidence: share of such intervals that hold the true value.
    """
    if n == 0:
        return None
    mean = total / n
    variance = max(0.0, squares / n - mean * mean) / n
    bernoulli = mean * (1 - mean)
    worth = draws if variance * draws <= bernoulli else max(n, bernoulli / variance)
    return wilson(mean * worth, worth, confidence)


def bootstrap(
    differences: NDArray[np.float64], seed: int = 0, confidence: float = 0.95, resamples: int = RESAMPLES
) -> Interval | None:
    """Percentile interval of the mean by the bootstrap (Efron and Tibshirani 1993, 13.3), items drawn in pairs.

    Drawing N items with replacement and counting how often each distinct difference came is one draw from a
    multinomial distribution, so where there are few of them a resample costs these and not N, and is the same
    bootstrap. The draws are made for the side of the data that comes first in order, so that swapping the two models
    mirrors the interval.

    Args:
        differences: float64 (N,); other minus base, item by item.
        seed: of PCG64; the same seed gives the same interval, bit for bit.
        confidence: share of such intervals that hold the true value.
        resamples: R.
    """
    n = len(differences)
    if n == 0:
        return None
    values, counts = np.unique(differences + 0.0, return_counts=True)  # + 0.0: no -0
    here, mirrored = list(zip(values, counts, strict=True)), list(zip(-values[::-1], counts[::-1], strict=True))
    if here > mirrored:
        values, counts = -values[::-1], counts[::-1]
    means = _resampled(values, counts, np.random.Generator(np.random.PCG64(seed)), resamples)
    low, high = (float(bound) for bound in np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]))
    if here == mirrored:
        return (low - high) / 2, (high - low) / 2
    return (-high, -low) if here > mirrored else (low, high)


def _resampled(
    values: NDArray[np.float64], counts: NDArray[np.int64], generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """The means of resamples of `values`, each of which came so many times."""
    n = int(counts.sum())
    means = np.empty(resamples)
    written = None if len(values) <= _DISTINCT else np.repeat(values, counts)
    rows = max(1, min(resamples, 2_000_000 // (len(values) if written is None else n)))  # at most 16 MB a draw
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        if written is None:
            means[start : start + size] = generator.multinomial(n, counts / n, size=size) @ values / n
        else:
            means[start : start + size] = written[generator.integers(0, n, (size, n), np.uint32)].mean(axis=1)
    return means


def adjusted(total: float, squares: float, n: int, confidence: float = 0.95) -> Interval | None:
    """Interval of the difference of paired shares by Bonett and Price (2012): Wald after one is added to each change.

    It stays honest where few items changed or none did, where the bootstrap, which can only repeat what it saw,
    gives an interval that is too short. For scores between 0 and 1 the same two pairs are added, one that rose by 1
    and one that fell by 1, which is cautious.

    Args:
        total: of the differences; for right and wrong: fixed less broken.
        squares: of their squares; for right and wrong: fixed and broken together.
        n: pairs.
        confidence: share of such intervals that hold the true value.

    Returns:
        (low, high) within -1 to 1; None for n = 0.
    """
    if n == 0:
        return None
    mean, square = total / (n + 2), (squares + 2) / (n + 2)
    half = _z(confidence) * math.sqrt(max(0.0, square - mean * mean) / (n + 2))
    return max(-1.0, mean - half), min(1.0, mean + half)
