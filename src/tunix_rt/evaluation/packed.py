"""The scores of an evaluation's items as bytes, in order: what a board reads instead of a row for each item.

One byte an item where every score is 0, 1 or absent; else a little-endian float64 an item, NaN where unscored.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_UNSCORED = 255


def pack(scores: Iterable[float | None]) -> bytes:
    """Pack item scores; None: unscored."""
    table = np.array([np.nan if score is None else score for score in scores], dtype="<f8")
    unscored = np.isnan(table)
    if (unscored | (table == 0) | (table == 1)).all():
        return np.where(unscored, _UNSCORED, table).astype(np.uint8).tobytes()
    return table.tobytes()


def unpack(rows: Sequence[bytes], n_items: int) -> NDArray[np.float64]:
    """Unpack the scores of several evaluations of one eval set: float64 (rows, items), NaN where unscored."""
    table = np.empty((len(rows), n_items))
    for place, row in enumerate(rows):
        table[place] = np.frombuffer(row, np.uint8 if len(row) == n_items else "<f8")
        if len(row) == n_items:
            table[place][table[place] == _UNSCORED] = np.nan
    return table
