"""Scores as bytes."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tunix_rt.evaluation import packed

SCORES = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=40)


@given(SCORES)
def test_scores_come_back_as_they_were(scores: list[float | None]) -> None:
    found = packed.unpack([packed.pack(scores)], len(scores))[0]
    assert [None if math.isnan(score) else score for score in found] == scores


def test_right_and_wrong_take_a_byte_an_item() -> None:
    assert len(packed.pack([1.0, 0.0, None])) == 3
    both = packed.unpack([packed.pack([1.0, 0.0, None]), packed.pack([0.5, 0.0, 1.0])], 3)
    assert np.array_equal(both, [[1, 0, math.nan], [0.5, 0, 1]], equal_nan=True)
