"""How rows share batches: a few widths for rows of like length, or several rows packed into one.

Axes: B rows of a micro-batch, T tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tunix_rt.training.config import TrainingConfig

_MOST_WIDTHS = 6
_ENOUGH = 1.05  # fewer widths are taken if they compute at most this share of what the best do
_MOST_CANDIDATES = 128
_MULTIPLE = 8


@dataclass(frozen=True)
class Bucket:
    """Rows of batches of one shape.

    Attributes:
        width: T.
        rows: B.
        members: for each row of the batches, the numbers of the traces' rows in it: one, or several where packed.
    """

    width: int
    rows: int
    members: tuple[tuple[int, ...], ...]

    @property
    def batches(self) -> int:
        """Micro-batches of an epoch; the last one is filled up with empty rows."""
        return -(-len(self.members) // self.rows)


def buckets(lengths: Sequence[int], config: TrainingConfig) -> tuple[Bucket, ...]:
    """Group rows; every row is in exactly one bucket, the widest bucket comes first.

    Args:
        lengths: tokens of each row.
        config: says how (`batching`), and how many rows make a batch.
    """
    if not lengths:
        return ()
    longest, limit = max(lengths), config.data.max_length
    if config.batching == "packed":
        width = min(limit or longest, max(longest, sum(lengths)))
        packed = first_fit_decreasing(lengths, width)
        return (Bucket(width, rows_of(config, width), tuple(map(tuple, packed))),)
    largest = rounded(longest)
    if limit is not None:
        largest = min(largest, max(limit, longest))
    found = [largest] if config.batching == "padded" else widths(lengths, largest, config)
    members: list[list[tuple[int, ...]]] = [[] for _ in found]
    for number, place in enumerate(np.searchsorted(found, lengths)):
        members[place].append((number,))
    return tuple(
        Bucket(width, rows_of(config, width), tuple(rows))
        for width, rows in zip(reversed(found), reversed(members), strict=True)
    )


def rows_of(config: TrainingConfig, width: int) -> int:
    """Rows of a micro-batch of a width: one at least."""
    return max(1, config.batch_tokens // width) if config.batch_tokens else config.batch_size


def rounded(length: int) -> int:
    """The multiple of 8 that holds a length."""
    return -(-length // _MULTIPLE) * _MULTIPLE


def widths(lengths: Sequence[int], largest: int, config: TrainingConfig) -> list[int]:
    """The fewest widths, at most 6, that compute within 5 % of the fewest tokens, ascending; each holds a row.

    What is counted is computed: tokens, padding, and the empty rows of a last batch.
    """
    step = max(_MULTIPLE, rounded(-(-largest // _MOST_CANDIDATES)))
    ordered = np.sort(np.asarray(lengths))
    candidates = np.unique(np.minimum(-(-ordered // step) * step, largest))
    below: list[int] = [0, *np.searchsorted(ordered, candidates, side="right").tolist()]
    count = len(candidates)

    def cost(first: int, last: int) -> int:
        """Of one width for candidates first..last."""
        width = int(candidates[last])
        rows = rows_of(config, width)
        return -(-(below[last + 1] - below[first]) // rows) * rows * width

    best = [cost(0, last) for last in range(count)]
    ways = [[[last] for last in range(count)]]
    totals = [best[-1]]
    for used in range(1, min(_MOST_WIDTHS, count)):
        following, chosen = list(best), list(ways[-1])
        for last in range(used, count):
            total, split = min((best[cut] + cost(cut + 1, last), cut) for cut in range(used - 1, last))
            if total < best[last]:
                following[last], chosen[last] = total, [*ways[-1][split], last]
        best = following
        ways.append(chosen)
        totals.append(best[-1])
    enough = next(place for place, total in enumerate(totals) if total <= totals[-1] * _ENOUGH)
    return [int(candidates[place]) for place in ways[enough][-1]]


def first_fit_decreasing(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Pack whole rows into rows of `width`: each, longest first, goes to the first that has room for it.

    Args:
        lengths: tokens of each row, 1..width.
        width: T.

    Returns:
        numbers of the rows in each packed one; at most 11/9 of the fewest possible, plus one.

    Raises:
        ValueError: a row is empty or longer than `width`.
    """
    if any(not 1 <= length <= width for length in lengths):
        raise ValueError(f"rows of 1 to {width} tokens can be packed into {width}")
    leaves = 1 << max(1, len(lengths) - 1).bit_length()
    room = [width] * (2 * leaves)  # a tree: room[n] is the most room below node n
    packed: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        node, length = 1, lengths[number]
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        if node - leaves == len(packed):
            packed.append([])
        packed[node - leaves].append(number)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return packed


def places(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """First token and one past the last of each of the rows that are packed one after the other."""
    ends = np.cumsum([0, *lengths]).tolist()
    return list(pairwise(ends))
