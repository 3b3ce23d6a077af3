"""The statistics, against SciPy, against enumeration, and by what must hold for any data."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tunix_rt.evaluation import statistics

COUNTS = st.integers(0, 3_000)


def outcomes(text: str) -> NDArray[np.float64]:
    """`10?` as right, wrong, unscored."""
    return np.array([math.nan if char == "?" else float(char) for char in text])


# --- Wilson -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (0, 10), (10, 10), (5, 10), (82, 300), (1, 100_000), (99_999, 100_000)]
)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_wilson_interval_is_scipys(k: int, n: int, confidence: float) -> None:
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert statistics.wilson(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12, rel=1e-9)


@given(st.integers(1, 10**7), st.floats(0, 1))
def test_the_wilson_interval_holds_the_share_and_stays_between_0_and_1(n: int, share: float) -> None:
    k = round(share * n)
    found = statistics.wilson(k, n)
    assert found is not None
    assert 0 <= found[0] <= k / n <= found[1] <= 1


def test_without_items_there_is_no_interval_and_no_nan() -> None:
    assert statistics.wilson(0, 0) is None
    assert statistics.bootstrap(np.array([])) is None
    assert statistics.adjusted(0, 0, 0) is None
    assert statistics.detectable(0, 0) is None
    found = statistics.compare(outcomes(""), outcomes(""))
    assert (found.n, found.a, found.difference, found.ci, found.p_value, found.verdict) == (
        0, None, None, None, None, "inconclusive",
    )  # fmt: skip


# --- McNemar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fixed", "broken"),
    [(0, 0), (1, 0), (5, 0), (6, 0), (5, 5), (5, 6), (10, 25), (41, 33), (189, 7), (1500, 1400), (9000, 9300),
    (50, 20_000),
     (49_000, 50_000), (499_000, 501_000)],
)  # fmt: skip
def test_the_exact_mcnemar_p_value_is_scipys(fixed: int, broken: int) -> None:
    expected = stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert statistics.mcnemar(fixed, broken) == pytest.approx(expected, rel=1e-9, abs=0)


def test_the_p_value_of_six_changes_in_one_direction_is_one_in_32() -> None:
    assert statistics.mcnemar(6, 0) == 2 / 2**6


@given(COUNTS, COUNTS)
def test_the_p_value_is_symmetric_and_a_probability(fixed: int, broken: int) -> None:
    p = statistics.mcnemar(fixed, broken)
    assert 0 <= p <= 1
    assert p == statistics.mcnemar(broken, fixed)


@given(st.integers(1, 400), st.integers(0, 400))
def test_the_p_value_falls_as_the_changes_grow_one_sided(total: int, few: int) -> None:
    few = min(few, total // 2)
    assert statistics.mcnemar(few, total - few) <= statistics.mcnemar(min(few + 1, total - few), total - few) + 1e-15


# --- the bootstrap ----------------------------------------------------------------------------------------------


def slow_bootstrap(differences: NDArray[np.float64], seed: int, resamples: int) -> tuple[float, float]:
    """Item by item: every resample is written out from how often each value came."""
    values, counts = np.unique(differences, return_counts=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    draws = generator.multinomial(len(differences), counts / len(differences), size=resamples)
    means = [float(np.repeat(values, draw).mean()) for draw in draws]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def changes(broken: int, same: int, fixed: int) -> NDArray[np.float64]:
    return np.repeat([-1.0, 0.0, 1.0], [broken, same, fixed])


def test_the_bootstrap_is_that_of_items_written_out_one_by_one() -> None:
    data = changes(12, 150, 38)
    assert statistics.bootstrap(data, seed=3, resamples=2_000) == pytest.approx(
        slow_bootstrap(data, 3, 2_000), abs=1e-12
    )


def test_the_bootstrap_is_scipys_but_for_the_draw() -> None:
    data = changes(12, 150, 38)
    expected = stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=20_000, vectorized=True, rng=np.random.default_rng(1)
    ).confidence_interval
    assert statistics.bootstrap(data, resamples=20_000) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_the_bootstrap_converges_to_the_exact_distribution_of_resamples() -> None:
    broken, same, fixed = 3, 20, 7
    n = broken + same + fixed
    step = np.array([broken, same, fixed]) / n
    exact = np.array([1.0])
    for _ in range(n):  # the distribution of the sum of n draws, by convolution
        exact = np.convolve(exact, step)
    cumulative = np.cumsum(exact)
    low, high = ((int(np.searchsorted(cumulative, q)) - n) / n for q in (0.025, 0.975))
    assert statistics.bootstrap(changes(broken, same, fixed), resamples=200_000) == pytest.approx(
        (low, high), abs=1e-12
    )


def test_the_same_seed_gives_the_same_interval_bit_for_bit() -> None:
    data = changes(100, 800, 130)
    assert statistics.bootstrap(data, seed=7) == statistics.bootstrap(data[::-1].copy(), seed=7)
    assert statistics.bootstrap(data, seed=7) != statistics.bootstrap(data, seed=8)


def test_the_bootstrap_takes_any_scores_and_many_items() -> None:
    data = np.random.default_rng(0).normal(0.1, 1, 3_000)
    low, high = statistics.bootstrap(data, resamples=1_000) or (0.0, 0.0)
    error = 1.96 * data.std() / math.sqrt(len(data))
    assert (low, high) == pytest.approx((data.mean() - error, data.mean() + error), abs=0.006)
    assert statistics.bootstrap(changes(1_000, 98_000, 1_000)) == pytest.approx((-0.00088, 0.00088), abs=5e-5)


def test_intervals_cover_and_false_alarms_are_rare() -> None:
    generator = np.random.default_rng(11)
    covered = alarms = 0
    truth, trials = 0.08, 400
    for trial in range(trials):
        data = generator.choice([-1.0, 0.0, 1.0], size=200, p=[0.10, 0.72, 0.18])
        low, high = statistics.bootstrap(data, seed=trial, resamples=1_000) or (0.0, 0.0)
        covered += low <= truth <= high
        fixed = int(generator.binomial(50, 0.5))
        alarms += statistics.mcnemar(fixed, 50 - fixed) < 0.05
    assert 0.92 <= covered / trials <= 0.98
    assert alarms / trials <= 0.055


# --- comparing --------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("01?"), st.sampled_from("01?")), max_size=60), st.integers(0, 3))
def test_comparing_the_other_way_round_mirrors_everything(pairs: Sequence[tuple[str, str]], seed: int) -> None:
    a, b = outcomes("".join(pair[0] for pair in pairs)), outcomes("".join(pair[1] for pair in pairs))
    there, back = (statistics.compare(*sides, seed=seed, resamples=500) for sides in ((a, b), (b, a)))
    mirrored = {"better": "worse", "worse": "better"}
    assert (there.n, there.a, there.b, there.p_value) == (back.n, back.b, back.a, back.p_value)
    assert (there.fixed, there.broken, there.detectable) == (back.broken, back.fixed, back.detectable)
    assert back.verdict == mirrored.get(there.verdict, there.verdict)
    if there.ci and back.ci and there.difference is not None and back.difference is not None:
        assert there.difference == -back.difference
        assert there.ci == (-back.ci[1], -back.ci[0])


def test_unscored_items_are_left_out_of_the_pairs() -> None:
    found = statistics.compare(outcomes("10?1"), outcomes("011?"))
    assert (found.n, found.fixed, found.broken, found.a, found.b) == (2, 1, 1, 0.5, 0.5)


def test_scores_other_than_right_and_wrong_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        statistics.compare(np.array([0.5]), np.array([1.0]))


@pytest.mark.parametrize(
    ("a", "b", "margin", "verdict"),
    [
        ("0" * 20, "1" * 20, 0.02, "better"),
        ("1" * 20, "0" * 20, 0.02, "worse"),
        ("01" * 200, "01" * 200, 0.02, "equivalent"),
        ("01" * 20, "01" * 20, 0.02, "inconclusive"),  # 40 items that happen to agree do not show equality
        ("01" * 20, "01" * 20, 0.10, "equivalent"),
        ("0" * 5 + "1" * 15, "1" * 20, 0.02, "inconclusive"),  # 5 changes in one direction: p = 0.0625
        ("0" * 6 + "1" * 15, "1" * 21, 0.02, "better"),
        ("01" * 50, "10" * 50, 0.02, "inconclusive"),
    ],
)
def test_the_verdict(a: str, b: str, margin: float, verdict: str) -> None:
    assert statistics.compare(outcomes(a), outcomes(b), margin).verdict == verdict


def test_a_significant_difference_within_the_margin_is_still_a_difference() -> None:
    a, b = outcomes("0" * 40 + "1" * 9_960), outcomes("1" * 10_000)
    assert statistics.compare(a, b, margin=0.05).verdict == "better"


def test_the_detectable_difference_is_what_simulated_pairs_show_four_times_in_five() -> None:
    n, changed = 300, 60
    found = statistics.detectable(changed, n)
    assert found is not None
    rate = (changed + 2) / (n + 2)
    generator = np.random.default_rng(5)
    draws = generator.multinomial(n, [(rate + found) / 2, (rate - found) / 2, 1 - rate], size=2_000)
    shown = np.mean([statistics.mcnemar(int(up), int(down)) < 0.05 for up, down, _ in draws])
    assert 0.72 <= shown <= 0.86  # the formula is that of the large-sample test; the exact one is a little weaker


@given(st.integers(1, 5_000), st.floats(0, 1))
def test_more_items_detect_smaller_differences(n: int, share: float) -> None:
    changed = round(share * n)
    small, large = statistics.detectable(changed, n), statistics.detectable(4 * changed, 4 * n)
    assert small is None or 0 < small <= 1
    if small is not None and large is not None:
        assert large <= small + 1e-9


# --- many at once -----------------------------------------------------------------------------------------------


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
                and found.p_values[i, j] < 0.05
                and gain > 0
                and not any("?" in row for row in rows)
            ):
                assert found.ranks[i] < found.ranks[j]
