"""The statistics, against SciPy, against enumeration, and by what must hold for any data."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import product
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tunix_rt.evaluation import comparing, statistics
from tunix_rt.evaluation.statistics import paired

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
    assert statistics.clustered(0, 0, 0, 0) is None
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
    """Item by item: every resample is written out from how often each value came; for right and wrong."""
    n = len(differences) + 1
    values, counts = np.unique(np.concatenate([differences, differences, [1.0, -1.0]]), return_counts=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    draws = generator.multinomial(n, counts / (2 * n), size=resamples)
    means = [float(np.repeat(values, draw).mean()) for draw in draws]
    return float(np.quantile(means, 0.025)) - 0.5 / n, float(np.quantile(means, 0.975)) + 0.5 / n


def changes(broken: int, same: int, fixed: int) -> NDArray[np.float64]:
    return np.repeat([-1.0, 0.0, 1.0], [broken, same, fixed])


def test_the_bootstrap_is_that_of_items_written_out_one_by_one() -> None:
    data = changes(12, 150, 38)
    assert statistics.bootstrap(data, seed=3, resamples=2_000) == pytest.approx(
        slow_bootstrap(data, 3, 2_000), abs=1e-12
    )


def test_the_bootstrap_is_scipys_but_for_the_draw_and_the_pseudo_item() -> None:
    data = changes(12, 150, 38)
    expected = stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=20_000, vectorized=True, rng=np.random.default_rng(1)
    ).confidence_interval
    assert statistics.bootstrap(data, resamples=20_000) == pytest.approx((expected.low, expected.high), abs=0.009)


def test_the_bootstrap_converges_to_the_exact_distribution_of_resamples() -> None:
    broken, same, fixed = 3, 20, 7
    n = broken + same + fixed + 1  # with the pseudo-item, half of which rose and half fell
    step = np.array([broken + 0.5, same, fixed + 0.5]) / n
    exact = np.array([1.0])
    for _ in range(n):  # the distribution of the sum of n draws, by convolution
        exact = np.convolve(exact, step)
    cumulative = np.cumsum(exact)
    low, high = ((int(np.searchsorted(cumulative, q)) - n) / n for q in (0.025, 0.975))
    assert statistics.bootstrap(changes(broken, same, fixed), resamples=200_000) == pytest.approx(
        (low - 0.5 / n, high + 0.5 / n), abs=1e-12
    )


def test_the_bootstrap_of_items_that_did_not_change_has_a_width_and_stays_within_1() -> None:
    assert statistics.bootstrap(np.zeros(99)) == (-0.025, 0.025)
    assert statistics.bootstrap(np.zeros(99), limit=math.inf) == (0, 0)
    low, high = statistics.bootstrap(np.ones(20)) or (0.0, 0.0)
    assert 0.7 < low < 1
    assert high == 1


def test_the_bootstrap_grows_with_the_unit_of_what_it_is_given() -> None:
    seconds = np.random.default_rng(4).normal(3, 20, 80)
    low, high = statistics.bootstrap(seconds, limit=math.inf) or (0.0, 0.0)
    assert statistics.bootstrap(1_000 * seconds, limit=math.inf) == pytest.approx((1_000 * low, 1_000 * high))


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


def test_scores_beyond_0_and_1_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.compare(np.array([0.5]), np.array([1.5]))


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


# --- several samples an item ------------------------------------------------------------------------------------


def flips(differences: Sequence[float]) -> float:
    """P(|sum| at least as large) over all 2^N signs."""
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(sum(differences)) - 1e-9))


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10))
def test_the_permutation_test_is_that_of_all_flips(samples: int, counts: list[tuple[int, int]]) -> None:
    a, b = (np.array([min(pair[side], samples) / samples for pair in counts]) for side in (0, 1))
    p, test = statistics.sign_flip(b - a)
    assert p == pytest.approx(flips(list(b - a)), abs=1e-12)
    assert "exact" in test


def test_the_permutation_test_is_scipys() -> None:
    a, b = (np.random.default_rng(seed).integers(0, 5, 14) / 4 for seed in (1, 2))
    expected = stats.permutation_test(
        (b - a,), lambda d, axis: d.sum(axis=axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert statistics.sign_flip(b - a)[0] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_of_many_items_the_permutation_test_leaves_out_what_cannot_matter(broken: int, low: int, fixed: int) -> None:
    differences = np.repeat([-2.0, -1.0, 1.0, 2.0], [broken, low, 25, fixed]) / 2
    whole, _ = statistics.sign_flip(differences)
    with mock.patch.object(paired, "_WHOLE", 0):
        trimmed, _ = statistics.sign_flip(differences)
    assert whole == pytest.approx(trimmed, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_for_right_and_wrong_the_permutation_test_is_mcnemars(broken: int, same: int, fixed: int) -> None:
    p, test = statistics.sign_flip(changes(broken, same, fixed))
    assert (p, test) == (statistics.mcnemar(fixed, broken), "exact McNemar, two-sided")
    halves = statistics.sign_flip(np.concatenate([changes(broken, same, fixed) / 2, [1.0, -1.0]]))
    assert halves[1] == "exact McNemar, two-sided" if broken + fixed == 0 else "exact sign-flip permutation, two-sided"


def test_scores_of_any_size_are_tested_by_seeded_draws() -> None:
    data = np.random.default_rng(3).normal(0.15, 1, 200)
    p, test = statistics.sign_flip(data, seed=1)
    assert "draws" in test
    assert p == pytest.approx(stats.ttest_1samp(data, 0).pvalue, abs=0.02)
    assert p == statistics.sign_flip(-data[::-1], seed=1)[0]
    assert statistics.sign_flip(np.full(400, math.pi), seed=1)[0] == 1 / 10_001


def test_means_of_samples_are_compared_and_an_item_is_fixed_where_its_mean_rose() -> None:
    a, b = np.array([0.25, 0.5, 1.0, math.nan, 1 / 3]), np.array([0.5, 0.5, 0.75, 1.0, 1 / 3 + 1e-16])
    found = statistics.compare(a, b)
    assert (found.n, found.fixed, found.broken, found.difference, found.p_value) == (4, 1, 1, 0, 1)
    assert found.squares == pytest.approx(2 * 0.25**2)


def test_one_sample_an_item_has_wilsons_interval() -> None:
    for right in range(301):
        assert statistics.clustered(right, right, 300, 300) == statistics.wilson(right, 300)


def test_the_clustered_interval_is_wilsons_with_the_effective_sample_size() -> None:
    scores = np.random.default_rng(0).binomial(4, np.random.default_rng(1).beta(1, 1, 100)) / 4
    mean = scores.mean()
    padded = np.repeat(np.append(scores, [0, 1]), [2] * 100 + [1, 1])  # an item more, half right and half wrong
    worth = 100 * padded.mean() * (1 - padded.mean()) / padded.var()
    assert 100 < worth < 400
    found = statistics.clustered(scores.sum(), (scores**2).sum(), 100, 400)
    assert found == pytest.approx(statistics.wilson(mean * worth, worth), abs=1e-12)


def test_the_clustered_interval_lies_between_those_of_the_items_and_of_all_draws() -> None:
    whole, halves = np.repeat([0.0, 1.0], 20), np.full(40, 0.5)
    assert statistics.clustered(20, (whole**2).sum(), 40, 160) == pytest.approx(statistics.wilson(20, 40))
    assert statistics.clustered(20, (halves**2).sum(), 40, 160) == pytest.approx(statistics.wilson(80, 160))
    assert statistics.clustered(0, 0, 30, 240) == pytest.approx(statistics.wilson(0, 30))


# --- how often it is right where the truth is known ---------------------------------------------------------------


@pytest.mark.parametrize(("n", "changing"), [(40, 0.3), (300, 0.2)])
def test_of_10_000_equal_pairs_at_most_5_percent_are_told_apart(n: int, changing: float) -> None:
    draws = np.random.default_rng(n).multinomial(n, [changing / 2, 1 - changing, changing / 2], size=10_000)

    @cache
    def told(broken: int, fixed: int) -> bool:
        a, b = np.zeros(n), np.zeros(n)
        a[:broken], b[broken : broken + fixed] = 1, 1
        return statistics.compare(a, b, resamples=1_000).verdict in ("better", "worse")

    assert np.mean([told(int(broken), int(fixed)) for broken, _, fixed in draws]) <= 0.055


def test_of_10_000_equal_pairs_of_means_at_most_5_percent_have_p_below_5_percent() -> None:
    generator = np.random.default_rng(8)
    n, samples = 30, 2
    kinds = generator.multinomial(n, [0.1, 0.15, 0.5, 0.15, 0.1], size=10_000)

    @cache
    def p_value(*counts: int) -> float:
        return statistics.sign_flip(np.repeat(np.arange(-samples, samples + 1) / samples, counts))[0]

    assert np.mean([p_value(*map(int, counts)) < 0.05 for counts in kinds]) <= 0.055


@pytest.mark.parametrize(("n", "share"), [(100, 0.3), (300, 0.8), (1_319, 0.6)])
def test_wilsons_interval_covers_93_to_97_percent(n: int, share: float) -> None:
    intervals = [statistics.wilson(k, n) or (0.0, 0.0) for k in range(n + 1)]
    covers = np.array([low <= share <= high for low, high in intervals])
    assert 0.93 <= covers[np.random.default_rng(n).binomial(n, share, 10_000)].mean() <= 0.97


@pytest.mark.parametrize(("n", "samples"), [(50, 4), (300, 8)])
def test_the_clustered_interval_covers_93_to_97_percent(n: int, samples: int) -> None:
    generator = np.random.default_rng(n)
    chances = generator.beta(1.2, 0.8, (10_000, n))
    scores = generator.binomial(samples, chances) / samples
    found = zip(scores.sum(axis=1), (scores**2).sum(axis=1), strict=True)
    intervals = np.array([statistics.clustered(total, squares, n, n * samples) for total, squares in found])
    covered = ((intervals[:, 0] <= 0.6) & (intervals[:, 1] >= 0.6)).mean()
    plain = np.array([statistics.wilson(total * samples, n * samples) for total in scores.sum(axis=1)])
    assert 0.93 <= covered <= 0.97
    assert ((plain[:, 0] <= 0.6) & (plain[:, 1] >= 0.6)).mean() < 0.9  # as if all draws were independent


@pytest.mark.parametrize(("n", "samples", "a", "b"), [(30, 4, 0.05, 1.0), (30, 8, 0.02, 0.4), (50, 4, 20.0, 0.5)])
def test_the_clustered_interval_is_not_too_short_where_hardly_any_item_is_right_or_wrong(
    n: int, samples: int, a: float, b: float
) -> None:
    generator = np.random.default_rng(n)
    scores = generator.binomial(samples, generator.beta(a, b, (3_000, n))) / samples
    found = zip(scores.sum(axis=1), (scores**2).sum(axis=1), strict=True)
    intervals = np.array([statistics.clustered(total, squares, n, n * samples) for total, squares in found])
    assert ((intervals[:, 0] <= a / (a + b)) & (intervals[:, 1] >= a / (a + b))).mean() >= 0.93


def test_the_interval_of_graded_scores_covers_93_to_97_percent_and_is_much_shorter_than_wilsons() -> None:
    scores = np.random.default_rng(6).beta(7, 3, (3_000, 100))
    found = [statistics.clustered(one.sum(), (one**2).sum(), 100) or (0.0, 0.0) for one in scores]
    assert 0.93 <= np.mean([low <= 0.7 <= high for low, high in found]) <= 0.97
    plain = statistics.wilson(70, 100) or (0.0, 0.0)
    assert np.mean([high - low for low, high in found]) < (plain[1] - plain[0]) / 3


@pytest.mark.parametrize(
    ("n", "rates", "least", "most"),
    [
        (50, (0.02, 0.94, 0.04), 0.93, 1.0),  # 3 changes are expected
        (50, (0.00, 0.92, 0.08), 0.93, 1.0),
        (100, (0.02, 0.92, 0.06), 0.93, 0.98),
        (30, (0.20, 0.60, 0.20), 0.93, 0.97),
        (100, (0.10, 0.72, 0.18), 0.93, 0.97),
        (300, (0.03, 0.92, 0.05), 0.93, 0.97),
        (1_319, (0.01, 0.98, 0.01), 0.93, 0.97),
    ],
)
def test_the_interval_of_a_difference_covers_93_to_97_percent_and_no_less_where_few_items_change(
    n: int, rates: tuple[float, float, float], least: float, most: float
) -> None:
    draws = np.random.default_rng(n).multinomial(n, rates, size=2_000)

    @cache
    def interval(broken: int, fixed: int) -> tuple[float, float]:
        return statistics.bootstrap(changes(broken, n - broken - fixed, fixed)) or (0.0, 0.0)

    found = [interval(int(broken), int(fixed)) for broken, _, fixed in draws]
    truth = rates[2] - rates[0]
    assert least <= np.mean([low <= truth <= high for low, high in found]) <= most


@pytest.mark.parametrize(("n", "rate", "rising", "most"), [(100, 0.3, 0.5, 0.97), (100, 0.05, 1.0, 1.0)])
def test_the_interval_of_a_difference_of_graded_scores_covers_93_to_97_percent_and_no_less_where_few_change(
    n: int, rate: float, rising: float, most: float
) -> None:
    generator = np.random.default_rng(n)
    sizes = generator.choice([0.1, 0.2, 0.3, 0.5, 1.0], (600, n)) * (generator.random((600, n)) < rate)
    signs = np.where(generator.random((600, n)) < rising, 1.0, -1.0)
    truth = 0.42 * rate * (2 * rising - 1)
    found = [statistics.bootstrap(one, resamples=1_000, seed=seed) for seed, one in enumerate(sizes * signs)]
    assert 0.93 <= np.mean([one is not None and one[0] <= truth <= one[1] for one in found]) <= most


def test_a_comparison_says_why_its_interval_excludes_0_and_nothing_is_claimed() -> None:
    found = statistics.compare(outcomes("0" * 5 + "1" * 95), outcomes("1" * 100))
    assert found.ci is not None
    assert (found.ci[0] > 0, found.p_value, found.verdict) == (True, 0.0625, "inconclusive")
    assert "p = 0.062" in (comparing.note(found) or "")
    assert comparing.note(statistics.compare(outcomes("0" * 6 + "1" * 94), outcomes("1" * 100))) is None
