"""Batches: order by (seed, epoch, position), masks, weights."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tunix_rt.training.batches import RowBatches, order
from tunix_rt.training.render import Row


def make(count: int, *, batch_size: int = 4, accumulation: int = 1, seed: int = 0, held_out: int = 0) -> RowBatches:
    built = [Row(str(n), [n] * (3 + n % 5), 1 + n % 2, 3 + n % 5) for n in range(count + held_out)]
    return RowBatches(
        built[:count],
        built[count:],
        width=8,
        batch_size=batch_size,
        accumulation=accumulation,
        seed=seed,
        padding=99,
    )


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 200), st.integers(1, 90))
def test_the_order_can_be_entered_anywhere(rows: int, seed: int, first: int, count: int) -> None:
    assert order(rows, seed, 0, first + count)[first:] == order(rows, seed, first, count)


@given(st.integers(1, 40), st.integers(0, 5))
def test_each_epoch_holds_each_row_once(rows: int, seed: int) -> None:
    for epoch in range(3):
        assert Counter(order(rows, seed, epoch * rows, rows)) == Counter(range(rows))


def test_epochs_and_seeds_have_different_orders() -> None:
    assert order(50, 0, 0, 50) != order(50, 0, 50, 50)
    assert order(50, 0, 0, 50) != order(50, 1, 0, 50)


def test_the_order_never_changes_between_releases() -> None:
    assert order(8, 3, 0, 16) == [4, 1, 6, 7, 0, 5, 2, 3, 0, 7, 6, 1, 5, 3, 2, 4]


def test_a_batch_is_a_pure_function_of_its_step() -> None:
    one, two = make(10), make(10)
    for step in (5, 1, 5, 3):
        np.testing.assert_array_equal(one.training(step, 0).tokens, two.training(step, 0).tokens)


def test_masks_and_lengths_are_those_of_the_rows() -> None:
    batches = make(9)
    batch = batches.training(2, 0)
    for place, number in enumerate(order(9, 0, 4, 4)):
        row = batches.train[number]
        size = len(row.tokens)
        assert batch.lengths[place] == size
        assert batch.tokens[place].tolist() == row.tokens + [99] * (8 - size)
        assert np.flatnonzero(batch.supervised[place]).tolist() == list(range(row.start, row.stop))


def test_the_weights_of_a_step_make_one_mean_over_all_its_supervised_tokens() -> None:
    batches = make(20, accumulation=3)
    micro = [batches.training(4, number) for number in range(3)]
    supervised = sum(int(batch.supervised.sum()) for batch in micro)
    assert {batch.weight for batch in micro} == {supervised / 3}


def test_the_evaluation_rows_come_in_order_and_the_last_batch_is_filled_with_empty_rows() -> None:
    batches = make(4, held_out=6)
    first, last = batches.evaluation
    assert first.tokens[:, 0].tolist() == [4, 5, 6, 7]
    assert last.lengths.tolist()[2:] == [0, 0]
    assert not last.supervised[2:].any()
