"""Ranks of many models at once, against a slow way of finding them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.evaluation.test_statistics import outcomes
from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.statistics import ranking


def slowly(scores: NDArray[np.float64], alpha: float = 0.05) -> tuple[list[int], NDArray[np.float64]]:
    """Ranks and p-values, pair by pair, closed by Warshall's algorithm."""
    rows = len(scores)
    pairs = [(i, j) for i in range(rows) for j in range(i)]
    differences = [scores[i] - scores[j] for i, j in pairs]
    tests = [statistics.sign_flip(one[~np.isnan(one)])[0] for one in differences]
    better, p_values = np.zeros((rows, rows), bool), np.ones((rows, rows))
    for (i, j), p, one in zip(pairs, statistics.holm(tests), differences, strict=True):
        p_values[i, j] = p_values[j, i] = p
        better[i, j], better[j, i] = p < alpha and np.nansum(one) > 0, p < alpha and np.nansum(one) < 0
    for k in range(rows):
        better |= np.outer(better[:, k], better[k])
    np.fill_diagonal(better, False)
    return [1 + int(count) for count in better.sum(axis=0)], p_values


def board(rows: int, items: int, seed: int, unscored: float = 0.0, samples: int = 1) -> NDArray[np.float64]:
    """Scores of models of different skill."""
    generator = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(generator.normal(0, 1, items) - generator.normal(0, 1, (rows, 1))))
    found = generator.binomial(samples, chance).astype(np.float64) / samples
    found[generator.random(found.shape) < unscored] = math.nan
    return found


@pytest.mark.parametrize("unscored", [0.0, 0.3])
@pytest.mark.parametrize("dense", [True, False])
def test_ranks_are_those_that_a_slow_way_finds(monkeypatch: pytest.MonkeyPatch, unscored: float, dense: bool) -> None:
    monkeypatch.setattr(ranking, "_BLOCK", 8)
    monkeypatch.setattr(ranking, "_DENSE", 2**22 if dense else 0)
    for seed, rows in enumerate((2, 8, 9, 25)):
        scores = board(rows, 60, seed, unscored)
        found, (ranks, p_values) = statistics.rank(scores), slowly(scores)
        assert found.ranks == ranks
        assert np.array([found.against(row) for row in range(rows)]) == pytest.approx(p_values, abs=1e-12)


def test_ranks_of_means_of_samples_are_exact_on_a_small_board() -> None:
    scores = board(8, 50, 1, unscored=0.05, samples=4)
    found, (ranks, p_values) = statistics.rank(scores), slowly(scores)
    assert found.ranks == ranks
    assert found.against(2) == pytest.approx(p_values[2], abs=1e-12)


def test_on_a_large_board_of_means_p_is_bounded_from_above_and_not_by_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_EXACTLY", 0)
    scores = board(23, 100, 2, samples=4)
    bounds = ranking._Bounded(scores)
    levels, higher = bounds.block(slice(0, 3), slice(3, 23))
    for i in range(3):
        for j in range(20):
            differences = scores[i] - scores[3 + j]
            exact, _ = statistics.sign_flip(differences)
            bound = bounds.p_values(levels[i, j : j + 1])[0]
            assert exact <= bound
            assert bound <= max(0.05, 8 * exact) or bound == 1
            assert higher[i, j] == (differences.sum() > 1e-9)
    ranks = statistics.rank(scores).ranks
    cautious, (exact_ranks, _) = np.array(ranks), slowly(scores)
    assert (cautious <= np.array(exact_ranks)).all()
    assert cautious.max() > 10


def test_who_beats_a_row_that_stands_above_it_is_found_too() -> None:
    # Row 1 has the lower mean and beats row 0 where both were scored; row 2 loses to both.
    rows = ["1" * 60 + "0" * 20 + "?" * 20, "?" * 60 + "1" * 20 + "0" * 20, "0" * 60 + "0" * 20 + "0" * 20]
    table = np.array([outcomes(row) for row in rows])
    assert statistics.rank(table).ranks == slowly(table)[0] == [2, 1, 3]


def test_the_same_model_a_hundred_times_is_told_apart_from_itself_on_at_most_5_boards_in_100() -> None:
    alarms = 0
    for seed in range(300):
        scores = np.random.default_rng(seed).binomial(1, 0.5, (8, 60)).astype(np.float64)
        alarms += max(statistics.rank(scores).ranks) > 1
    assert alarms / 300 <= 0.05


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    found = statistics.holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    assert sorted(range(len(found)), key=lambda i: (p_values[i], i)) == sorted(
        range(len(found)), key=lambda i: (found[i], p_values[i], i)
    )


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    table = np.array([outcomes("1" * 90 + "0" * 10), outcomes("1" * 88 + "0" * 12), outcomes("1" * 20 + "0" * 80)])
    assert statistics.rank(table).ranks == [1, 1, 3]
    assert statistics.rank(table[::-1].copy()).ranks == [3, 1, 1]


def test_a_tie_need_not_be_transitive() -> None:
    rows = [outcomes("1" * k + "0" * (200 - k)) for k in (110, 106, 102)]  # 4 changes between neighbours, 8 in all
    assert statistics.rank(np.array(rows)).ranks == [1, 1, 2]


def test_one_row_has_rank_1() -> None:
    assert statistics.rank(np.array([outcomes("?" * 5)])).ranks == [1]


@given(st.lists(st.text("01?", min_size=12, max_size=12), min_size=1, max_size=7))
def test_a_row_ranks_above_every_row_that_it_beats(rows: list[str]) -> None:
    table = np.array([outcomes(row * 4) for row in rows])
    found = statistics.rank(table)
    assert min(found.ranks) == 1
    for i in range(len(rows)):
        for j in range(len(rows)):
            gain = np.nansum(table[i] - table[j])
            if (
                "?" not in rows[i] + rows[j]
                and found.against(i)[j] < 0.05
                and gain > 0
                and not any("?" in row for row in rows)
            ):
                assert found.ranks[i] < found.ranks[j]
