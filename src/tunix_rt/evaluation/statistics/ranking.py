"""Ranks of many models at once: paired tests between all pairs, Holm over them, and ties that share a rank.

Axes: `M` rows, `N` items, `P = M (M - 1) / 2` pairs. Ten thousand rows have fifty million pairs, so nothing here holds
an object for each: pairs are met in blocks, a test's outcome is a whole number (`level`) of which there are few
distinct ones, and "better" is a bit.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunix_rt.evaluation.statistics.paired import ALPHA, mcnemar_all, sign_flip

_BLOCK = 1_024  # rows of a block on either side; a multiple of 8
_DENSE = 2**22  # distinct levels up to which they are looked up in a table instead of searched for
_EXACTLY = 1_000  # pairs up to which scores other than right and wrong are tested exactly

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the given order: comparing each with alpha keeps the chance of any false
    finding among them all at alpha."""
    distinct, place, counts = np.unique(np.asarray(p_values, np.float64), return_inverse=True, return_counts=True)
    return [float(p) for p in _holm(distinct, counts)[place]]


def _holm(p_values: Floats, counts: Ints) -> Floats:
    """Holm's adjustment of distinct p-values in rising order, each of which came so many times."""
    left = counts.sum() - (np.cumsum(counts) - counts)
    return np.maximum.accumulate(np.minimum(1.0, p_values * left))


# --- pairs ------------------------------------------------------------------------------------------------------


class _Pairs(Protocol):
    """All pairs of rows: what came of each test as a whole number below `levels`, and the p-values of such numbers."""

    levels: int

    def block(self, rows: slice, others: slice) -> tuple[Ints, NDArray[np.bool_]]:
        """Levels of rows against others, and which rows have the higher scores; both (rows, others)."""

    def p_values(self, levels: Ints) -> Floats:
        """p of each level."""


class _RightAndWrong:
    """Exact McNemar's tests: a level is how many items changed and how many of them in the rarer direction."""

    def __init__(self, scores: Floats) -> None:
        scored = ~np.isnan(scores)
        self.right = np.where(scored, scores, 0.0).astype(np.float32)  # whole numbers up to 2^24 are exact in it
        self.wrong = scored.astype(np.float32) - self.right
        self.complete = bool(scored.all())
        self.count = self.right.sum(axis=1)
        self.base = scores.shape[1] + 1
        self.levels = self.base * self.base

    def block(self, rows: slice, others: slice) -> tuple[Ints, NDArray[np.bool_]]:
        if self.complete:
            both = self.right[rows] @ self.right[others].T
            gained, lost = self.count[rows, None] - both, self.count[others] - both
        else:
            gained, lost = self.right[rows] @ self.wrong[others].T, self.wrong[rows] @ self.right[others].T
        levels = (gained + lost).astype(np.int64)
        levels *= self.base
        levels += np.minimum(gained, lost).astype(np.int64)
        return levels, gained > lost

    def p_values(self, levels: Ints) -> Floats:
        return mcnemar_all(levels % self.base, levels // self.base)


class _Exact:
    """Sign-flip permutation tests, one by one: a level is the pair itself."""

    def __init__(self, scores: Floats) -> None:
        self.scores = scores
        self.levels = len(scores) ** 2

    def block(self, rows: slice, others: slice) -> tuple[Ints, NDArray[np.bool_]]:
        places = np.arange(len(self.scores))
        i, j = places[rows, None], places[others]
        totals = np.nansum(self.scores[rows, None] - self.scores[others], axis=2)
        return np.minimum(i, j) * len(places) + np.maximum(i, j), totals > 1e-9

    def p_values(self, levels: Ints) -> Floats:
        i, j = np.divmod(levels, len(self.scores))
        differences = self.scores[i] - self.scores[j]
        differences[np.abs(differences) < 1e-12] = 0.0
        return np.array([sign_flip(one[~np.isnan(one)])[0] for one in differences])


class _Bounded:
    """An upper bound of the sign-flip test's p, by matrix products: a level is z, rounded down to a fine grid.

    Whatever the sizes of differences, the chance that flips of their signs carry the sum beyond z times the root of
    the sum of their squares is at most 3.178 times that of a normal variable (Bentkus and Dzindzalieta 2015, "A tight
    Gaussian bound for weighted sums of Rademacher random variables"). So p is valid, and at most that much too large.
    """

    STEPS = 1_024
    FACTOR = 3.178

    def __init__(self, scores: Floats) -> None:
        self.scored = (~np.isnan(scores)).astype(np.float64)
        self.scores = np.where(np.isnan(scores), 0.0, scores)
        self.squares = self.scores**2
        self.levels = int(math.sqrt(scores.shape[1]) * self.STEPS) + 2

    def block(self, rows: slice, others: slice) -> tuple[Ints, NDArray[np.bool_]]:
        mine, theirs = self.scored[rows], self.scored[others].T
        totals = self.scores[rows] @ theirs - mine @ self.scores[others].T
        squares = self.squares[rows] @ theirs + mine @ self.squares[others].T
        squares -= 2 * (self.scores[rows] @ self.scores[others].T)
        z = np.abs(totals) / np.sqrt(np.maximum(squares, 1e-12))
        z[squares < 1e-9] = 0.0  # no difference but that of rounding
        return (z * self.STEPS).astype(np.int64), totals > 1e-9

    def p_values(self, levels: Ints) -> Floats:
        return np.array([min(1.0, self.FACTOR * math.erfc(z / math.sqrt(2))) for z in levels / self.STEPS])


def _pairs(scores: Floats) -> _Pairs:
    rows = len(scores)
    if (np.isnan(scores) | (scores == 0) | (scores == 1)).all():
        return _RightAndWrong(scores)
    return _Exact(scores) if rows * (rows - 1) // 2 <= _EXACTLY else _Bounded(scores)


# --- ranks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranking:
    """Ranks of the rows of a board, and the tests behind them.

    Attributes:
        ranks: one a row, from 1.
        against: the Holm-adjusted p-values of all rows against one of them; 1 for that row itself.
    """

    ranks: list[int]
    against: Callable[[int], Floats]


def rank(scores: Floats, alpha: float = ALPHA) -> Ranking:
    """Rank the rows of a board so that rows which cannot be told apart share a rank.

    A row's rank is 1 plus the number of rows that are significantly better than it: paired tests between all pairs of
    rows (exact McNemar for right and wrong; else sign flips, exact or by a bound that is never too small), Holm over
    all of them. "Not told apart" is not transitive (first and second may tie, second and third too, and first still
    beat third), so rows are never put into classes of equals. "Better" is made transitive (who beats a row that beats
    mine is better than mine), so a row is always ranked above those it beats.

    Args:
        scores: float64 (M, N); 0 to 1, NaN where unscored.
        alpha: chance of any false difference on the board.
    """
    if len(scores) == 1:
        return Ranking([1], lambda _: np.ones(1))
    scored = ~np.isnan(scores)
    means = np.where(scored, scores, 0.0).sum(axis=1) / np.maximum(1, scored.sum(axis=1))
    order = np.argsort(-means, kind="stable")  # who beats whom then nearly always stands above them
    pairs = _pairs(scores[order])
    levels, adjusted = _tested(pairs, len(scores))

    def p_of(found: Ints) -> Floats:  # a row against itself has no level: whatever it gets, it is never better
        return adjusted[np.minimum(np.searchsorted(levels, found), len(levels) - 1)]

    table = np.zeros(pairs.levels if pairs.levels <= _DENSE else 0, np.bool_)
    if len(table):
        table[levels[adjusted < alpha]] = True

    def significant(found: Ints) -> NDArray[np.bool_]:
        return table[found] if len(table) else p_of(found) < alpha

    beaten_by = _ancestors(_better(pairs, len(scores), significant), len(scores))
    ranks = np.empty(len(scores), np.int64)
    ranks[order] = 1 + beaten_by

    def against(row: int) -> Floats:
        place = int(np.flatnonzero(order == row)[0])
        found, _ = pairs.block(slice(place, place + 1), slice(None))
        found = np.delete(found[0], place)
        p_values = np.empty(len(scores))
        p_values[order] = np.insert(p_of(found), place, 1.0)
        return p_values

    return Ranking([int(one) for one in ranks], against)


def _blocks(rows: int) -> Iterator[tuple[slice, slice]]:
    """The blocks of the upper triangle."""
    starts = range(0, rows, _BLOCK)
    return (
        (slice(i, min(i + _BLOCK, rows)), slice(j, min(j + _BLOCK, rows))) for i in starts for j in starts if j >= i
    )


def _tested(pairs: _Pairs, rows: int) -> tuple[Ints, Floats]:
    """The distinct levels of all pairs, in rising order, and their Holm-adjusted p-values."""
    dense = pairs.levels <= _DENSE
    levels = np.empty(0, np.int64)
    counts = np.zeros(pairs.levels if dense else 0, np.int64)
    for mine, others in _blocks(rows):
        found, _ = pairs.block(mine, others)
        seen = found[np.triu_indices(len(found), 1)] if mine == others else found
        if dense:
            counts += np.bincount(seen.ravel(), minlength=pairs.levels)
            continue
        some, times = np.unique(seen, return_counts=True)
        levels, place = np.unique(np.concatenate([levels, some]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times]), len(levels)).astype(np.int64)
    if dense:
        levels = np.flatnonzero(counts)
        counts = counts[levels]
    p_values, place = np.unique(pairs.p_values(levels), return_inverse=True)
    times = np.bincount(place, counts, len(p_values)).astype(np.int64)
    return levels, _holm(p_values, times)[place]


def _better(pairs: _Pairs, rows: int, significant: Callable[[Ints], NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Who is significantly better than whom: uint8 (M, M/8), bit j of row i where i is better than j."""
    found = np.zeros((rows, -(-rows // 8)), np.uint8)
    for mine, others in _blocks(rows):
        levels, higher = pairs.block(mine, others)
        told = significant(levels)
        found[mine, others.start // 8 : -(-others.stop // 8)] |= np.packbits(told & higher, axis=1, bitorder="little")
        if mine != others:
            lower = np.packbits((told & ~higher).T, axis=1, bitorder="little")
            found[others, mine.start // 8 : -(-mine.stop // 8)] |= lower
    return found


def _ancestors(better: NDArray[np.uint8], rows: int) -> Ints:
    """How many rows are better than each, once "better" is made transitive.

    A row reaches whom it beats and whomever they reach. Rows are met from the last to the first; those that it beats
    are added from the first on, until all who are left reach nobody new. One walk is enough unless a row beats one
    that stands above it, which unscored items can bring about: then as many as it takes.
    """
    beats = [int.from_bytes(row.tobytes(), "little") for row in better]
    reach, below = list(beats), [0] * (rows + 1)
    upward = any(beaten & ((1 << row) - 1) for row, beaten in enumerate(beats))
    changed = True
    while changed:
        changed = False
        for row in reversed(range(rows)):
            found = todo = reach[row]
            while todo:
                first = (todo & -todo).bit_length() - 1
                found |= reach[first]
                todo &= ~(reach[first] | (1 << first))
                if not below[first + 1] & ~found:
                    break
            changed |= upward and found != reach[row]
            reach[row] = found
            below[row] = below[row + 1] | found
    width = better.shape[1]
    counts = np.zeros(rows, np.int64)
    for row, found in enumerate(reach):
        bits = np.frombuffer((found & ~(1 << row)).to_bytes(width, "little"), np.uint8)
        counts += np.unpackbits(bits, count=rows, bitorder="little")
    return counts
