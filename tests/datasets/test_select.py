"""Selecting and splitting: pure functions that never move a trace."""

from hypothesis import given
from hypothesis import strategies as st

from tunix_rt.datasets.select import Candidate, digest, sample, split_of

CANDIDATES = st.lists(st.text("abcdef", min_size=1, max_size=8), unique=True, max_size=40).map(
    lambda names: [Candidate(number, name, name, 1, 1) for number, name in enumerate(names)]
)


@given(CANDIDATES, st.integers(0, 2**40), st.integers(1, 50), st.randoms())
def test_a_random_selection_does_not_depend_on_the_order_it_is_given(
    candidates: list[Candidate], seed: int, limit: int, random: object
) -> None:
    shuffled = sorted(candidates, key=lambda item: item.digest[::-1])
    assert sample(candidates, limit, seed) == sample(shuffled, limit, seed)
    assert sample(candidates, None, seed)[:limit] == sample(candidates, limit, seed)


def test_another_seed_selects_others() -> None:
    candidates = [Candidate(n, f"sha256:{n}", "", 1, 1) for n in range(200)]
    one, two = (sample(candidates, 100, seed) for seed in (1, 2))
    assert 30 < len({c.number for c in one} & {c.number for c in two}) < 70


def test_splits_have_about_their_shares() -> None:
    names = [split_of(f"sha256:{n}", {"eval": 0.1, "test": 0.2}) for n in range(20_000)]
    assert abs(names.count("eval") / 20_000 - 0.1) < 0.01
    assert abs(names.count("test") / 20_000 - 0.2) < 0.01


@given(st.text(), st.floats(0.01, 0.98))
def test_a_larger_share_only_adds(group: str, share: float) -> None:
    if split_of(group, {"eval": share}) == "eval":
        assert split_of(group, {"eval": share + 0.01}) == "eval"


def test_the_split_of_a_trace_never_changes_between_releases() -> None:
    assert [split_of(f"t{n}", {"eval": 0.5}) for n in range(6)] == ["eval", "train", "train", "train", "train", "train"]


def test_the_digest_covers_the_order() -> None:
    assert digest(["a", "b"]) != digest(["b", "a"])
    assert digest([]) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
