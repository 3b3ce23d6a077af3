"""Rows in batches: which rows a step sees is a pure function of (seed, step), so that resuming seeks.

The training order is one endless sequence: epoch after epoch, each a permutation of all rows drawn from (seed,
epoch). Step s takes the next batch_size * accumulation rows of it, so no row is dropped at an epoch's end and no batch
is ragged. Axes: B rows, T tokens of a row.
"""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from tunix_rt.training.engines import Batch
from tunix_rt.training.render import Row


@lru_cache(maxsize=4)
def _permutation(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(rows)


def order(rows: int, seed: int, first: int, count: int) -> list[int]:
    """Row numbers at positions first .. first + count - 1 of the endless sequence."""
    return [
        int(_permutation(rows, seed, position // rows)[position % rows]) for position in range(first, first + count)
    ]


class RowBatches:
    """Batches of rows padded to one width, so that the step is compiled once.

    Args:
        train: rows that are trained.
        evaluation: rows of the evaluation loss; may be empty.
        width: T; at least the longest row.
        batch_size: B.
        accumulation: micro-batches of an optimizer step.
        seed: of the order.
        padding: id on padding.
    """

    def __init__(
        self,
        train: Sequence[Row],
        evaluation: Sequence[Row],
        *,
        width: int,
        batch_size: int,
        accumulation: int,
        seed: int,
        padding: int,
    ) -> None:
        self.train, self._evaluation = train, evaluation
        self.width, self.batch_size, self.accumulation = width, batch_size, accumulation
        self.seed, self.padding = seed, padding

    def _rows(self, step: int) -> list[int]:
        size = self.batch_size * self.accumulation
        return order(len(self.train), self.seed, (step - 1) * size, size)

    def training(self, step: int, micro: int) -> Batch:
        """Micro-batch `micro` (from 0) of optimizer step `step` (from 1)."""
        chosen = [self.train[number] for number in self._rows(step)]
        supervised = sum(row.stop - row.start for row in chosen)
        part = chosen[micro * self.batch_size : (micro + 1) * self.batch_size]
        return self._pad(part, supervised / self.accumulation)

    def epoch(self, step: int) -> float:
        """Passes over the training rows after `step` steps."""
        return step * self.batch_size * self.accumulation / len(self.train)

    @cached_property
    def evaluation(self) -> list[Batch]:
        """The evaluation rows in order; the last batch filled up with empty rows, weight 1 (losses stay sums)."""
        return [
            self._pad(self._evaluation[first : first + self.batch_size], 1.0)
            for first in range(0, len(self._evaluation), self.batch_size)
        ]

    def _pad(self, rows: Sequence[Row], weight: float) -> Batch:
        tokens = np.full((self.batch_size, self.width), self.padding, np.int32)
        supervised = np.zeros((self.batch_size, self.width), np.bool_)
        lengths = np.zeros(self.batch_size, np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row.tokens)] = row.tokens
            supervised[number, row.start : row.stop] = True
            lengths[number] = len(row.tokens)
        return Batch(tokens, supervised, lengths, weight)
