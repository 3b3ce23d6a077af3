"""The decision of a gate: by hand, and how often it is wrong where the truth is known."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from tunix_rt.regression.decision import decide


def changes(broken: int, same: int, fixed: int) -> NDArray[np.float64]:
    return np.repeat([-1.0, 0.0, 1.0], [broken, same, fixed])


@pytest.mark.parametrize(
    ("broken", "same", "fixed", "margin", "verdict"),
    [
        (0, 300, 0, 0.02, "pass"),  # nothing changed among 300
        (0, 40, 0, 0.02, "inconclusive"),  # nothing changed among 40, which shows little
        (0, 40, 0, 0.1, "pass"),
        (10, 250, 40, 0.02, "pass"),  # better
        (60, 230, 10, 0.02, "fail"),
        (20, 270, 10, 0.02, "inconclusive"),  # 3.3 points worse: more than the margin, but it may be chance
        (25, 2_960, 15, 0.02, "pass"),  # a little worse, and surely within the margin
        (60, 2_940, 0, 0.05, "pass"),  # surely worse, and surely within the margin
        (40, 60, 0, 0.0, "fail"),
        (0, 0, 0, 0.02, "inconclusive"),
    ],
)
def test_the_decision_is_where_the_interval_lies(
    broken: int, same: int, fixed: int, margin: float, verdict: str
) -> None:
    assert decide(changes(broken, same, fixed), margin, shares=True).verdict == verdict


def test_an_inconclusive_gate_says_what_n_would_have_decided_it() -> None:
    found = decide(changes(0, 40, 0), 0.02, shares=True)
    assert found.sufficient_n is not None
    assert decide(changes(0, found.sufficient_n, 0), 0.02, shares=True).verdict == "pass"
    lost = decide(changes(14, 280, 6), 0.0, shares=True)  # 2.7 points worse
    assert lost.verdict == "inconclusive"
    assert lost.sufficient_n is not None
    times = lost.sufficient_n / 300
    again = decide(changes(round(14 * times), round(280 * times), round(6 * times)), 0.0, shares=True)
    assert again.verdict == "fail"


def test_the_n_that_is_named_decides_about_four_times_in_five() -> None:
    n = decide(changes(14, 280, 6), 0.0, shares=True).sufficient_n
    assert n is not None
    draws = np.random.default_rng(3).multinomial(n, [14 / 300, 280 / 300, 6 / 300], size=300)
    failed = [decide(changes(*draw), 0.0, shares=True, resamples=1_000).verdict == "fail" for draw in draws]
    assert 0.7 <= np.mean(failed) <= 0.9


def test_seconds_are_never_decided_by_a_few_items() -> None:
    gains = np.random.default_rng(0).normal(-5.0, 1.0, 40)
    assert decide(gains, 0.5, shares=False).verdict == "fail"
    assert decide(gains + 5, 0.5, shares=False).verdict == "pass"
    assert decide(gains[:29], 0.5, shares=False).verdict == "inconclusive"


def test_the_same_seed_gives_the_same_decision_bit_for_bit() -> None:
    gains = np.random.default_rng(0).normal(-0.1, 1.0, 60)
    assert decide(gains, 0.1, shares=False, seed=4) == decide(gains, 0.1, shares=False, seed=4)


@pytest.mark.parametrize(("n", "changing"), [(40, 0.3), (100, 0.2), (300, 0.15)])
def test_of_10_000_models_that_are_no_worse_at_most_5_percent_fail(n: int, changing: float) -> None:
    draws = np.random.default_rng(n).multinomial(n, [changing / 2, 1 - changing, changing / 2], size=10_000)

    @cache
    def fails(broken: int, fixed: int) -> bool:
        found = decide(changes(broken, n - broken - fixed, fixed), 0.0, shares=True, resamples=1_000)
        return found.verdict == "fail"

    failed = np.mean([fails(int(broken), int(fixed)) for broken, _, fixed in draws])
    assert failed <= 0.055


@pytest.mark.parametrize("n", [40, 300])
def test_of_10_000_models_that_are_worse_by_the_margin_at_most_5_percent_pass(n: int) -> None:
    margin = 0.05
    draws = np.random.default_rng(n).multinomial(n, [0.1 + margin / 2, 0.8, 0.1 - margin / 2], size=10_000)

    @cache
    def passes(broken: int, fixed: int) -> bool:
        found = decide(changes(broken, n - broken - fixed, fixed), margin, shares=True, resamples=1_000)
        return found.verdict == "pass"

    passed = np.mean([passes(int(broken), int(fixed)) for broken, _, fixed in draws])
    assert passed <= 0.055
