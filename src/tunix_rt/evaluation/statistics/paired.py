"""Tests of paired scores: exact McNemar for right and wrong, the sign-flip permutation test for any; and their power.

Axes: `N` items, `R` resamples. Under "no difference" the two scores of an item may be exchanged, so that each
difference is as likely to bear the other sign (Fisher 1935, section 21); for right and wrong that is McNemar's test.
"""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
POWER = 0.8
FLIPS = 10_000
_GRID = 1_000  # differences that are multiples of 1/k with k up to here are tested exactly
_WHOLE = 300_000_000  # additions of one test, up to which nothing is left out of it; about half a second
_WORK = 4 * _WHOLE  # up to which it is exact
_FEW = 17

MCNEMAR = "exact McNemar, two-sided"
PERMUTATION = "exact sign-flip permutation, two-sided"
MONTE_CARLO = f"sign-flip permutation, two-sided, {FLIPS:,} seeded draws"


# --- right and wrong --------------------------------------------------------------------------------------------


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
    return float(mcnemar_all(np.array([min(fixed, broken)]), np.array([fixed + broken]))[0])


def mcnemar_all(fewer: NDArray[np.int64], changed: NDArray[np.int64]) -> NDArray[np.float64]:
    """The p-values of many McNemar's tests.

    Args:
        fewer: int64 (any,); the smaller of fixed and broken.
        changed: both together.
    """
    found = np.ones(len(fewer))
    place = np.flatnonzero(2 * fewer + 1 < changed)
    i, n = fewer[place].astype(np.float64), changed[place].astype(np.float64)
    term = _fair_coin(i, n)
    total = term.copy()
    while len(place):
        term = term * i / (n - i + 1)
        i = i - 1
        total = total + term
        going = term > total * 1e-18
        done = ~going
        found[place[done]] = np.minimum(1.0, 2 * total[done])
        place, i, n, term, total = place[going], i[going], n[going], term[going], total[going]
    return found


def _fair_coin(k: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of k < n/2 heads in n throws: by its factors while they are few, else by Loader's saddle point."""
    found = np.ones(k.shape)
    for i in range(_FEW):
        found = np.where(i < np.minimum(k, _FEW), found * (n - i) / (i + 1), found)
    found = np.ldexp(found, -n.astype(np.int64))
    many = k > _FEW
    k, n = k[many], n[many]
    d = (n - 2 * k) / n
    deviance = n / 2 * ((1 - d) * np.log1p(-d) + (1 + d) * np.log1p(d))
    errors = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k)
    found[many] = np.exp(errors - deviance) / np.sqrt(2 * math.pi * k * (n - k) / n)
    return found


def _stirling_error(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln n! less Stirling's formula, to 1e-15 for n >= 16."""
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / n**2) / n**2) / n**2) / n


# --- any scores -------------------------------------------------------------------------------------------------


def sign_flip(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, str]:
    """Two-sided p-value of the sign-flip permutation test of a mean difference, and how it was found.

    Where all differences are multiples of 1/k, as those of means of samples are, the distribution of their sum under
    all 2^N flips is computed whole, by convolution: for right and wrong it is McNemar's, which has a closed form.
    Else it is drawn, and p is (1 + flips at least as far from 0) / (1 + R), which is valid for any R (Phipson and
    Smyth 2010).

    Args:
        differences: float64 (N,); other minus base.
        seed: of PCG64, where it is drawn.
    """
    units = _units(differences)
    if units is not None and np.abs(units).max(initial=0) <= 1:
        fixed, broken = int((units > 0).sum()), int((units < 0).sum())
        return mcnemar(fixed, broken), MCNEMAR
    if units is not None and (p := _convolved(units)) is not None:
        return p, PERMUTATION
    return _drawn(differences[differences != 0], seed), MONTE_CARLO


def _units(differences: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The differences that are not 0 as whole multiples of the largest possible unit; None where they have none."""
    values = differences[differences != 0]
    grid = 1
    for value in np.unique(np.abs(values)):
        if abs(value * grid - round(value * grid)) > 1e-9 * grid:
            grid = math.lcm(grid, Fraction(float(value)).limit_denominator(_GRID).denominator)
            if grid > _GRID or abs(value * grid - round(value * grid)) > 1e-9 * grid:
                return None
    units: NDArray[np.int64] = np.rint(values * grid).astype(np.int64)
    units //= max(1, int(np.gcd.reduce(units)))
    return units


def _convolved(units: NDArray[np.int64]) -> float | None:
    """P(|sum of +-units| >= |sum of units|), None where that takes too long.

    The sum of those that bear a plus has a symmetric distribution. Where there are many, chances below 1e-30 are
    left out of it, and p is raised by more than they could add.
    """
    total, width = abs(int(units.sum())), int(np.abs(units).sum())
    if total == 0:
        return 1.0
    sizes, counts = np.unique(np.abs(units), return_counts=True)
    least = 0.0
    if len(units) * width > _WHOLE:
        least = 1e-30
        if float((12 * np.sqrt(counts)).sum()) * width > _WORK:
            return None
    mass = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        heads = _heads(count)
        wider = np.zeros(len(mass) + size * count)
        for k in np.flatnonzero(heads > least):
            wider[size * k : size * k + len(mass)] += heads[k] * mass
        mass = wider
    return min(1.0, 2 * float(mass[(width + total) // 2 :][::-1].sum()) + 1e10 * least)


def _heads(n: int) -> NDArray[np.float64]:
    """The distribution of heads in n throws of a fair coin."""
    fewer = np.minimum(np.arange(n + 1), np.arange(n + 1)[::-1])
    return _fair_coin(fewer.astype(np.float64), np.full(n + 1, float(n)))


def _drawn(differences: NDArray[np.float64], seed: int) -> float:
    n = len(differences)
    if n == 0:
        return 1.0
    sizes = np.sort(np.abs(differences))
    far = abs(float(differences.sum())) * (1 - 1e-12)
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = max(1, 8_000_000 // n)
    extreme = 0
    for start in range(0, FLIPS, rows):
        count = min(rows, FLIPS - start)
        bits = np.unpackbits(np.frombuffer(generator.bytes((count * n + 7) // 8), np.uint8), count=count * n)
        plus = bits.reshape(count, n) @ sizes
        extreme += int((np.abs(2 * plus - sizes.sum()) >= far).sum())
    return (1 + extreme) / (1 + FLIPS)


# --- power ------------------------------------------------------------------------------------------------------


def detectable(squares: float, n: int, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """Smallest true difference that n such pairs would have shown (Connor 1987, solved for it).

    Args:
        squares: sum of the squared differences; for right and wrong: how many items changed.
        n: pairs.
        power: probability of showing it.
        alpha: level of the two-sided test.

    Returns:
        A share above 0 and at most 1; None when n is too small to show any difference.
    """
    if n == 0:
        return None
    z, w = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    rate = min(1.0, (squares + 2) / (n + 2))  # of change; as Bonett and Price (2012) estimate it
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


def sufficient(
    mean: float, square: float, bound: float, change: float, power: float = POWER, alpha: float = ALPHA
) -> int | None:
    """How many such pairs bring an interval of their mean difference clear of a bound.

    The usual sample size of a paired mean, `n = variance ((z_alpha + z_power) / distance)^2`, solved for the interval
    that `bootstrap` makes, with its pseudo-item and half a step.

    Args:
        mean: difference, as it was seen. square: mean of the squared differences.
        bound: that the interval shall not hold.
        change: typical size of one.
        power: how often it then does not.
        alpha: 1 less the confidence of the interval.

    Returns:
        A whole number; None where no n up to 10^9 would do.
    """
    reach = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)

    def clear(n: int) -> bool:
        size = n + 1
        centre = mean * n / size
        variance = max(0.0, (square * n + change**2) / size - centre**2)
        return abs(centre - bound) > reach * math.sqrt(variance / size) + change / 2 / size

    low, high = 0, 10**9
    if not clear(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if clear(middle) else (middle, high)
    return high
