"""Rows in batches: what a step sees is a pure function of (seed, step), so that resuming seeks.

Rows are grouped once (`packing`); an epoch has M micro-batches whatever its seed and number. In each epoch the rows of
a bucket are permuted by (seed, epoch, bucket) and cut into batches, whose order is drawn from (seed, epoch): every row
comes exactly once. Micro-batch i of the endless sequence is number i % M of epoch i // M. Axes: B rows, T tokens.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tunix_rt.training import packing
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch
from tunix_rt.training.packing import Bucket
from tunix_rt.training.render import Row

# A micro-batch before it is padded: its bucket, and the members (numbers of rows) in it.
_Slot = tuple[Bucket, list[tuple[int, ...]]]


class RowBatches:
    """Batches of a few fixed shapes, so that the step is compiled once for each.

    Args:
        train: rows that are trained.
        evaluation: rows of the evaluation loss; may be empty. They are grouped as the training's, by themselves.
        config: how rows are grouped, batch size, accumulation, seed.
        padding: id on padding.

    Attributes:
        width: T of the widest batch.
        batch_size: B of the largest batch.
        shapes: (T, B) of all batches, widest first.
        micro_batches: M, of an epoch.
    """

    def __init__(self, train: Sequence[Row], evaluation: Sequence[Row], config: TrainingConfig, padding: int) -> None:
        self.train, self._evaluation, self._padding = train, evaluation, padding
        self._seed, self._accumulation = config.seed, config.accumulation
        self._packed = config.batching == "packed"
        self._buckets = packing.buckets([len(row.tokens) for row in train], config)
        self._held_out = packing.buckets([len(row.tokens) for row in evaluation], config)
        both = (*self._buckets, *self._held_out)
        self.shapes = sorted({(bucket.width, bucket.rows) for bucket in both}, reverse=True)
        self.width = max(width for width, _ in self.shapes)
        self.batch_size = max(rows for _, rows in self.shapes)
        self.micro_batches = sum(bucket.batches for bucket in self._buckets)
        self._epochs: dict[int, list[_Slot]] = {}

    def training(self, step: int, micro: int) -> Batch:
        """Micro-batch `micro` (from 0) of optimizer step `step` (from 1)."""
        first = (step - 1) * self._accumulation
        slots = [self._slot(first + number) for number in range(self._accumulation)]
        supervised = sum(
            self.train[number].stop - self.train[number].start
            for _, members in slots
            for member in members
            for number in member
        )
        return self._pad(self.train, *slots[micro], supervised / self._accumulation)

    def epoch(self, step: int) -> float:
        """Passes over the training rows after `step` steps."""
        return step * self._accumulation / self.micro_batches

    @cached_property
    def evaluation(self) -> list[Batch]:
        """The evaluation rows in order, bucket by bucket, weight 1 (losses stay sums)."""
        return [
            self._pad(self._evaluation, bucket, list(bucket.members[first : first + bucket.rows]), 1.0)
            for bucket in self._held_out
            for first in range(0, len(bucket.members), bucket.rows)
        ]

    def _slot(self, place: int) -> _Slot:
        epoch, number = divmod(place, self.micro_batches)
        if epoch not in self._epochs:
            if len(self._epochs) > 1:  # a step may reach from one epoch into the next
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._drawn(epoch)
        return self._epochs[epoch][number]

    def _drawn(self, epoch: int) -> list[_Slot]:
        slots: list[_Slot] = []
        for number, bucket in enumerate(self._buckets):
            order = self._random(epoch, number + 1).permutation(len(bucket.members))
            shuffled = [bucket.members[place] for place in order]
            slots += [(bucket, shuffled[first : first + bucket.rows]) for first in range(0, len(order), bucket.rows)]
        return [slots[place] for place in self._random(epoch, 0).permutation(len(slots))]

    def _random(self, epoch: int, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self._seed, epoch], counter=[0, 0, 0, stream]))

    def _pad(self, rows: Sequence[Row], bucket: Bucket, members: list[tuple[int, ...]], weight: float) -> Batch:
        size = (bucket.rows, bucket.width)
        tokens, supervised = np.full(size, self._padding, np.int32), np.zeros(size, np.bool_)
        lengths, segments, positions = (
            np.zeros(bucket.rows, np.int32),
            np.zeros(size, np.int32),
            np.zeros(size, np.int32),
        )
        for line, member in enumerate(members):
            held = [rows[number] for number in member]
            for segment, (row, (start, end)) in enumerate(
                zip(held, packing.places([len(row.tokens) for row in held]), strict=True), 1
            ):
                tokens[line, start:end] = row.tokens
                supervised[line, start + row.start : start + row.stop] = True
                segments[line, start:end] = segment
                positions[line, start:end] = np.arange(end - start)
                lengths[line] = end
        ids = tuple(rows[number].id for member in members for number in member)
        if not self._packed:
            return Batch(tokens, supervised, lengths, weight, ids=ids)
        return Batch(tokens, supervised, lengths, weight, segments, positions, ids)
