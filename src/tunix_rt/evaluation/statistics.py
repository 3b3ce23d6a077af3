"""The statistics of evaluations: pure functions, no input or output, checked against SciPy in the tests.

Axes: `N` items, `R` resamples, `M` rows of a board. Scores are shares, 0 to 1; an outcome is 0 or 1. Where nothing
was scored the answer is None, never NaN.

Sources: Wilson 1927 (interval of a share), McNemar 1947 in its exact binomial form (paired test), Efron and
Tibshirani 1993, chapter 13 (percentile bootstrap), Bonett and Price 2012 (adjusted interval of a paired difference),
Holm 1979 (many tests at once), Connor 1987 (power of paired shares).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
ALPHA = 0.05
MARGIN = 0.02
ESTABLISHED = 30  # items below which a figure is shown as not established

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """Wilson's score interval of a share (Wilson 1927), without continuity correction.

    Args:
        successes: sum of the scores. With scores between 0 and 1 the interval is conservative, since a score of a
            given mean varies most when it is 0 or 1.
        n: how many were scored.
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


def _stirling_error(n: int) -> float:
    """ln n! less Stirling's formula, to 1e-15 for n >= 16."""
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / n**2) / n**2) / n**2) / n


def _fair_coin(k: int, n: int) -> float:
    """Probability of k heads in n throws, exact for small numbers, else by Loader's saddle point."""
    if k < 16 or n <= 2_000:  # big integers divide correctly rounded, but cost seconds for large n
        return math.comb(n, k) / (1 << n)
    d = (n - 2 * k) / n
    deviance = n / 2 * ((1 - d) * math.log1p(-d) + (1 + d) * math.log1p(d))
    errors = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k)
    return math.exp(errors - deviance) / math.sqrt(2 * math.pi * k * (n - k) / n)


def mcnemar(fixed: int, broken: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947) on the items whose outcome changed.

    Under "no difference" each changed item is as likely fixed as broken, so the smaller count is binomial with
    share one half.

    Args:
        fixed: items wrong before and right after.
        broken: items right before and wrong after.

    Returns:
        p, above 0 (unless below what a float holds) and at most 1; 1 when nothing changed.
    """
    k, n = min(fixed, broken), fixed + broken
    if 2 * k + 1 >= n:
        return 1.0
    term = _fair_coin(k, n)
    total = 0.0
    for i in range(k, -1, -1):
        total += term
        if term <= total * 1e-18:
            break
        term *= i / (n - i + 1)
    return min(1.0, 2 * total)


def bootstrap(
    differences: NDArray[np.float64], seed: int = 0, confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Percentile interval of the mean by the bootstrap (Efron and Tibshirani 1993, 13.3), items drawn in pairs.

    Drawing N items with replacement and counting how often each distinct difference came is one draw from a
    multinomial distribution, so a resample costs its distinct values and not N, and is the same bootstrap. The draws
    are made for the side of the data that comes first in order, so that swapping the two models mirrors the interval.

    Args:
        differences: float64 (N,); other minus base, item by item.
        seed: of PCG64; the same seed gives the same interval, bit for bit.
        confidence: share of such intervals that hold the true value.
        resamples: R.

    Returns:
        (low, high); None for no items.
    """
    n = len(differences)
    if n == 0:
        return None
    values, counts = np.unique(differences + 0.0, return_counts=True)  # + 0.0: no -0
    here, mirrored = list(zip(values, counts, strict=True)), list(zip(-values[::-1], counts[::-1], strict=True))
    if here > mirrored:
        values, counts = -values[::-1], counts[::-1]
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = max(1, min(resamples, 2_000_000 // len(values)))  # at most 16 MB a draw
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        means[start : start + size] = generator.multinomial(n, counts / n, size=size) @ values / n
    low, high = (float(bound) for bound in np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]))
    if here == mirrored:
        return (low - high) / 2, (high - low) / 2
    return (-high, -low) if here > mirrored else (low, high)


def adjusted(fixed: int, broken: int, n: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of the difference of paired shares by Bonett and Price (2012): Wald after one is added to each change.

    It stays honest where few items changed or none did, where the bootstrap, which can only repeat what it saw,
    gives an interval that is too short.

    Returns:
        (low, high) within -1 to 1; None for n = 0.
    """
    if n == 0:
        return None
    p, q = (fixed + 1) / (n + 2), (broken + 1) / (n + 2)
    half = _z(confidence) * math.sqrt(max(0.0, p + q - (p - q) ** 2) / (n + 2))
    return max(-1.0, p - q - half), min(1.0, p - q + half)


def detectable(changed: int, n: int, power: float = 0.8, alpha: float = ALPHA) -> float | None:
    """Smallest true difference that n pairs with so many changes would have shown (Connor 1987, solved for it).

    Args:
        changed: items whose outcome differs between the two.
        n: pairs.
        power: probability of showing it.
        alpha: level of the two-sided test.

    Returns:
        A share above 0 and at most 1; None when n is too small to show any difference.
    """
    if n == 0:
        return None
    z, w = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    rate = min(1.0, (changed + 2) / (n + 2))  # of change; as `adjusted` estimates it
    a, b, c = n + w * w, -2 * z * math.sqrt(n * rate), rate * (z * z - w * w)
    found = (-b + math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a)
    if found > rate:  # a difference cannot exceed the rate of change: all changes are then in one direction
        low, high = rate, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            enough = math.sqrt(n * middle) >= z + w * math.sqrt(1 - middle)
            low, high = (low, middle) if enough else (middle, high)
        found = high
        if math.sqrt(n) < z:
            return None
    return found


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items.

    Attributes:
        n: pairs that both have a score.
        a: mean score of the first; b: of the second; difference: b - a. None for n = 0.
        ci: paired bootstrap interval of the difference.
        adjusted_ci: Bonett and Price's, which the verdict `equivalent` needs too.
        p_value: exact McNemar.
        fixed: pairs that rose from 0 to 1; broken: that fell.
        detectable: what a pair of such models would have needed to differ by to be told apart.
    """

    n: int
    a: float | None
    b: float | None
    difference: float | None
    ci: tuple[float, float] | None
    adjusted_ci: tuple[float, float] | None
    p_value: float | None
    fixed: int
    broken: int
    verdict: Verdict
    detectable: float | None


def compare(
    a: NDArray[np.float64], b: NDArray[np.float64], margin: float = MARGIN, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two models on the same items.

    Args:
        a: float64 (N,); outcomes 0 or 1 of the first, NaN where unscored.
        b: the second's, in the same order.
        margin: a difference up to this share does not matter.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: a score that is neither 0 nor 1 (McNemar's test knows only right and wrong).
    """
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not (np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all()):
        raise ValueError("outcomes must be 0 or 1")
    n = len(a)
    if n == 0:
        return Comparison(0, None, None, None, None, None, None, 0, 0, "inconclusive", None)
    differences = b - a
    fixed, broken = int((differences > 0).sum()), int((differences < 0).sum())
    ci, around, p = (
        bootstrap(differences, seed, resamples=resamples),
        adjusted(fixed, broken, n),
        mcnemar(fixed, broken),
    )
    return Comparison(
        n=n,
        a=float(a.sum()) / n,
        b=float(b.sum()) / n,
        difference=(fixed - broken) / n,
        ci=ci,
        adjusted_ci=around,
        p_value=p,
        fixed=fixed,
        broken=broken,
        verdict=verdict(p, ci, around, margin),
        detectable=detectable(fixed + broken, n),
    )


def verdict(
    p_value: float | None,
    ci: tuple[float, float] | None,
    adjusted_ci: tuple[float, float] | None,
    margin: float = MARGIN,
) -> Verdict:
    """What the figures allow us to say of the second against the first.

    `better` or `worse`: p below 0.05 and the bootstrap interval excludes 0 on that side. `equivalent`: neither, and
    both intervals lie within the margin on either side of 0 (with few items the bootstrap alone would call any two
    models equal that happen not to differ on them). Else `inconclusive`, which is an answer too.
    """
    if p_value is None or ci is None or adjusted_ci is None:
        return "inconclusive"
    if p_value < ALPHA and ci[0] > 0:
        return "better"
    if p_value < ALPHA and ci[1] < 0:
        return "worse"
    if all(-margin <= low and high <= margin for low, high in (ci, adjusted_ci)):
        return "equivalent"
    return "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the given order: comparing each with alpha keeps the chance of any false
    finding among them all at alpha."""
    adjusted_values = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted_values[place] = highest
    return adjusted_values


@dataclass(frozen=True)
class Ranking:
    """Ranks of the rows of a board, and the tests behind them.

    Attributes:
        ranks: one a row, from 1.
        p_values: float64 (M, M), Holm-adjusted; 1 on the diagonal.
    """

    ranks: list[int]
    p_values: NDArray[np.float64]


def rank(outcomes: NDArray[np.float64], alpha: float = ALPHA) -> Ranking:
    """Rank the rows of a board so that rows which cannot be told apart share a rank.

    A row's rank is 1 plus the number of rows that are significantly better than it: paired exact McNemar tests
    between all pairs of rows, Holm over all of them. "Not told apart" is not transitive (first and second may tie,
    second and third too, and first still beat third), so rows are never put into classes of equals. "Better" is made
    transitive (who beats a row that beats mine is better than mine), so a row is always ranked above those it beats.

    Args:
        outcomes: float64 (M, N); 0 or 1, NaN where unscored.
        alpha: chance of any false difference on the board.
    """
    rows = len(outcomes)
    scored = (~np.isnan(outcomes)).astype(np.float64)
    right = np.where(np.isnan(outcomes), 0.0, outcomes)
    wrong = scored - right
    gains = np.rint(right @ wrong.T).astype(int)  # (M, M); [i, j]: items that i has right and j has wrong
    pairs = [(i, j) for i in range(rows) for j in range(i)]
    found = holm([mcnemar(int(gains[i, j]), int(gains[j, i])) for i, j in pairs])
    p_values = np.ones((rows, rows))
    for (i, j), p in zip(pairs, found, strict=True):
        p_values[i, j] = p_values[j, i] = p
    better = (p_values < alpha) & (gains > gains.T)  # [i, j]: i is better than j
    for k in range(rows):
        better |= np.outer(better[:, k], better[k])
    np.fill_diagonal(better, False)
    return Ranking([1 + int(count) for count in better.sum(axis=0)], p_values)
