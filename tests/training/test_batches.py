"""Batches: every row once an epoch, seeking, masks, weights, packing."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_rt.training import packing
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.render import Row

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=50)
CHOICES = st.fixed_dictionaries(
    {
        "batching": st.sampled_from(["bucketed", "padded", "packed"]),
        "batch_size": st.integers(1, 8),
        "batch_tokens": st.none() | st.integers(8, 300),
        "accumulation": st.integers(1, 3),
        "seed": st.integers(0, 3),
    }
)


def make(lengths: list[int], held_out: tuple[int, ...] = (), **choices: Any) -> RowBatches:
    built = [Row(str(n), [n] * length, 1, length) for n, length in enumerate([*lengths, *held_out])]
    config = TrainingConfig.model_validate({"batch_size": 4} | choices)
    return RowBatches(built[: len(lengths)], built[len(lengths) :], config, padding=99)


@settings(deadline=None)
@given(LENGTHS, CHOICES)
def test_every_row_comes_once_an_epoch(lengths: list[int], choices: dict[str, Any]) -> None:
    batches = make(lengths, **choices | {"accumulation": 1})
    for epoch in range(3):
        first = epoch * batches.micro_batches + 1
        found = [batches.training(step, 0) for step in range(first, first + batches.micro_batches)]
        assert Counter(name for batch in found for name in batch.ids) == Counter(map(str, range(len(lengths))))
        assert sum(int(batch.lengths.sum()) for batch in found) == sum(lengths)
        assert {batch.tokens.shape[::-1] for batch in found} == set(batches.shapes)


@settings(deadline=None)
@given(LENGTHS, CHOICES, st.integers(1, 100))
def test_seeking_is_replaying(lengths: list[int], choices: dict[str, Any], step: int) -> None:
    one, two = make(lengths, **choices), make(lengths, **choices)
    for before in range(1, step):
        one.training(before, 0)
    for micro in range(choices["accumulation"]):
        first, second = one.training(step, micro), two.training(step, micro)
        np.testing.assert_array_equal(first.tokens, second.tokens)
        assert (first.ids, first.weight) == (second.ids, second.weight)


def test_epochs_and_seeds_have_different_orders() -> None:
    def order(seed: int, first: int) -> list[str]:
        batches = make([5] * 40, seed=seed)
        return [name for step in range(first, first + 10) for name in batches.training(step, 0).ids]

    assert order(0, 1) != order(0, 11)
    assert order(0, 1) != order(1, 1)


def test_the_order_never_changes_between_releases() -> None:
    batches = make([5] * 6 + [50] * 2, batch_size=2, seed=3)
    found = [batches.training(step, 0).ids for step in range(1, 9)]
    assert found == [("6", "7"), ("4", "3"), ("1", "0"), ("5", "2"), ("5", "0"), ("1", "3"), ("4", "2"), ("7", "6")]


@given(LENGTHS, CHOICES)
def test_masks_and_lengths_are_those_of_the_rows(lengths: list[int], choices: dict[str, Any]) -> None:
    batch = make(lengths, **choices).training(2, choices["accumulation"] - 1)
    for line in range(len(batch.tokens)):
        length = int(batch.lengths[line])
        assert (batch.tokens[line, length:] == 99).all()
        assert not batch.supervised[line, length:].any()
        for name, count in Counter(batch.tokens[line, :length].tolist()).items():
            assert count == lengths[name]
            where = np.flatnonzero(batch.tokens[line, :length] == name)
            assert batch.supervised[line, where].tolist() == [False] + [True] * (count - 1)
            if batch.segments is not None and batch.positions is not None:
                assert len(set(batch.segments[line, where].tolist())) == 1
                assert batch.positions[line, where].tolist() == list(range(count))
    if batch.segments is not None:
        np.testing.assert_array_equal((batch.segments > 0).sum(1), batch.lengths)


def test_the_weights_of_a_step_make_one_mean_over_all_its_supervised_tokens() -> None:
    batches = make([5, 7, 30, 31, 12, 40, 9] * 3, accumulation=3)
    micro = [batches.training(4, number) for number in range(3)]
    supervised = sum(int(batch.supervised.sum()) for batch in micro)
    assert {batch.weight for batch in micro} == {supervised / 3}


def test_the_evaluation_rows_come_in_order_and_the_last_batch_is_filled_with_empty_rows() -> None:
    batches = make([5] * 4, held_out=(5,) * 6)
    first, last = batches.evaluation
    assert first.tokens[:, 0].tolist() == [4, 5, 6, 7]
    assert last.lengths.tolist()[2:] == [0, 0]
    assert not last.supervised[2:].any()


@given(LENGTHS, CHOICES)
def test_every_evaluation_row_comes_once(lengths: list[int], choices: dict[str, Any]) -> None:
    batches = make([5], held_out=tuple(lengths), **choices)
    assert Counter(name for batch in batches.evaluation for name in batch.ids) == Counter(
        str(number + 1) for number in range(len(lengths))
    )


@given(st.lists(st.integers(1, 50), max_size=80))
def test_packing_splits_nothing_and_stays_in_its_bound(lengths: list[int]) -> None:
    packed = packing.first_fit_decreasing(lengths, 50)
    assert sorted(number for row in packed for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= 50 for row in packed)
    # Every row but one is more than half full.
    assert sum(2 * sum(lengths[number] for number in row) <= 50 for row in packed) <= 1


@given(st.lists(st.integers(1, 30), max_size=40))
def test_first_fit_is_that_of_the_slow_way(lengths: list[int]) -> None:
    rows: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        fitting = [row for row in rows if sum(lengths[each] for each in row) + lengths[number] <= 30]
        if fitting:
            fitting[0].append(number)
        else:
            rows.append([number])
    assert packing.first_fit_decreasing(lengths, 30) == rows


def test_a_row_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        packing.first_fit_decreasing([9], 8)


def test_batches_of_tokens_have_more_rows_where_rows_are_short() -> None:
    assert make([8] * 40 + [64] * 40, batch_tokens=128).shapes == [(64, 2), (8, 16)]


@settings(deadline=None)
@given(LENGTHS)
def test_buckets_compute_no_more_than_one_width_does(lengths: list[int]) -> None:
    def computed(batching: str) -> int:
        buckets = packing.buckets(lengths, TrainingConfig.model_validate({"batching": batching, "batch_size": 4}))
        assert len(buckets) <= 6
        return sum(bucket.batches * bucket.rows * bucket.width for bucket in buckets)

    assert computed("bucketed") <= computed("padded")
