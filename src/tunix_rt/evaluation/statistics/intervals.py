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

    It holds the true share in 93 to 97 % of cases where 5 or more are expected to be right and 5 wrong; closer to 0
    or 1 than that it goes up and down with the true share, down to 84 % where a fifth of one is expected.

    Args:
        successes: how many were right; of an effective number this need not be whole.
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


def clustered(
    total: float, squares: float, n: int, draws: float = math.inf, confidence: float = 0.95
) -> Interval | None:
    """Wilson's interval of the mean of item scores of any kind, the item being the unit of chance.

    Shares of right and wrong have the largest spread that their mean allows. Item scores that spread less are worth
    more than n throws of a coin, `p (1 - p) / variance of the mean`: the effective sample size of Korn and Graubard
    (1998), put into Wilson's interval as Franco, Little, Louis and Slud (2019) recommend. It is never below n, and
    never taken to be more than all draws, which is what it would be if the draws of an item were independent. Where
    few items are right or few are wrong their spread tells little, so it is taken with one item more, which is as
    likely right as wrong. The interval holds the truth in 93 to 97 % of cases where 5 items or more are right and 5
    wrong, samples of them together; where fewer are, and of graded scores, in 91 to 99 %.

    Args:
        total: of the item scores, each the mean of its samples, 0 to 1. squares: of their squares.
        n: items.
        draws: samples of all items together, where each is right or wrong; n where each was drawn once, and the
            interval is then Wilson's. Without a limit for scores in between.
        confidence: share of such intervals that hold the true value.
    """
    if n == 0:
        return None
    mean, square = (total + 0.5) / (n + 1), (squares + 0.5) / (n + 1)
    spread = (square - mean * mean) / (mean * (1 - mean))  # 1 for right and wrong
    worth = draws if spread * draws <= n else max(n, n / spread)
    return wilson(total / n * worth, worth, confidence)


def bootstrap(
    differences: NDArray[np.float64],
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    limit: float = 1.0,
) -> Interval | None:
    """Percentile interval of a mean paired difference by the bootstrap, items drawn in pairs, with one pseudo-item.

    The plain percentile bootstrap (Efron and Tibshirani 1993, 13.3) can only repeat what it saw: with 3 changes
    expected among 50 items its 95 % interval held the truth in 76 to 92 % of cases, and where nothing changed it has
    no width at all. So, as Bonett and Price (2012) do for Wald's interval, an item is added that rose or fell with
    equal chance, by the typical size of a change; and as means of N + 1 items come in steps, the interval reaches
    half such a step further out (Yates' correction). Then it holds the truth

        in 93 to 97 %  of cases where 12 items or more are expected to change
        in 94 to 98 %  where 7 to 12 are
        in 92 to 100 % where fewer are: mostly too wide, and too short only where all changes go one way
        in 89 to 96 %  of 30 to 200 seconds or token counts, the less the more skewed their differences are

    Drawing items with replacement and counting how often each distinct difference came is one draw from a
    multinomial distribution, so where there are few of them a resample costs these and not N, and is the same
    bootstrap. The draws are made for the side of the data that comes first in order, so that swapping the two models
    mirrors the interval.

    Args:
        differences: float64 (N,); other minus base, item by item.
        seed: of PCG64; the same seed gives the same interval, bit for bit.
        confidence: share of such intervals that hold the true value.
        resamples: R.
        limit: largest size of a difference; 1 for scores, `math.inf` where there is none.
    """
    n = len(differences)
    if n == 0:
        return None
    size = typical(differences, limit)
    drawn = np.concatenate([differences, differences, [size, -size]]) + 0.0  # half an item each way; + 0.0: no -0
    values, counts = np.unique(drawn, return_counts=True)
    here, mirrored = list(zip(values, counts, strict=True)), list(zip(-values[::-1], counts[::-1], strict=True))
    if here > mirrored:
        values, counts = -values[::-1], counts[::-1]
    means = _resampled(values, counts, n + 1, np.random.Generator(np.random.PCG64(seed)), resamples)
    low, high = (float(bound) for bound in np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]))
    step = size / (n + 1)
    low, high = max(-limit, low - step / 2), min(limit, high + step / 2)
    if here == mirrored:
        return (low - high) / 2, (high - low) / 2
    return (-high, -low) if here > mirrored else (low, high)


def typical(differences: NDArray[np.float64], limit: float = 1.0) -> float:
    """Size of a change: root mean square of the differences that are not 0, which for right and wrong is 1.

    A change of the largest possible size is counted among them, since one that is rare may not have been seen; where
    there is no limit and nothing changed it is 0.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    total, n = float(sizes**2 @ counts), int(counts.sum())
    if math.isfinite(limit):
        total, n = total + limit**2, n + 1
    return math.sqrt(total / n) if n else 0.0


def _resampled(
    values: NDArray[np.float64], counts: NDArray[np.int64], n: int, generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """The means of resamples of `n` from `values`, each of which comes so many times."""
    of = int(counts.sum())
    means = np.empty(resamples)
    written = None if len(values) <= _DISTINCT else np.repeat(values, counts)
    rows = max(1, min(resamples, 2_000_000 // (len(values) if written is None else n)))  # at most 16 MB a draw
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        if written is None:
            means[start : start + size] = generator.multinomial(n, counts / of, size=size) @ values / n
        else:
            means[start : start + size] = written[generator.integers(0, of, (size, n), np.uint32)].mean(axis=1)
    return means
