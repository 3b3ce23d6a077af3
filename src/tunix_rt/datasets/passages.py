"""Runs of words by hash: every n-gram of many texts in a few numpy operations, and a table that finds them."""

import numpy as np

from tunix_rt.datasets.words import Hashes, Places, Words, mixed

_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 2**64)
_BITS = 2**20 - 1
_tables = {_BASE: np.ones(1, np.uint64), _INVERSE: np.ones(1, np.uint64)}


def _powers(base: int, count: int) -> Hashes:
    if len(_tables[base]) < count:
        powers = np.full(2 * count, base, np.uint64)
        powers[0] = 1
        _tables[base] = np.cumprod(powers)
    return _tables[base][:count]


class Passages:
    """Words of many texts, of which any run can be asked for its hash.

    Args:
        words: of the texts, one after the other.
        starts: (T + 1,): the words of text t are `starts[t]:starts[t + 1]`.
    """

    def __init__(self, words: Words, starts: Places) -> None:
        self.words, self.starts = words, starts
        self.lengths = np.diff(starts)
        count = len(words.hashes)
        self._sums = np.zeros(count + 1, np.uint64)
        np.cumsum(words.hashes * _powers(_BASE, count), out=self._sums[1:])
        self._inverse = _powers(_INVERSE, count + 1)
        self.text = np.repeat(np.arange(len(self.lengths)), self.lengths)  # that each word belongs to
        self._room = starts[1:][self.text] - np.arange(count)  # words from each one to the end of its text

    def runs(self, places: Places, lengths: Places | int) -> Hashes:
        """Hashes of the runs of `lengths` words from `places` on: equal runs have equal ones, wherever they stand."""
        return mixed((self._sums[places + lengths] - self._sums[places]) * self._inverse[places])

    def grams(self, length: int) -> tuple[Hashes, Places]:
        """Every run of `length` words within a text: hashes and places."""
        places = np.flatnonzero(self._room >= length)
        return self.runs(places, length), places


class Lookup:
    """Finds hashes in a fixed list of them, which may hold one several times.

    Args:
        hashes: the list, (K,).
    """

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self.keys, self._first, self.counts = np.unique(hashes[self._order], return_index=True, return_counts=True)
        self._maybe = np.zeros(_BITS + 1, np.bool_)  # most hashes that are not in the list end here
        self._maybe[hashes & np.uint64(_BITS)] = True

    def keys_of(self, hashes: Hashes) -> tuple[Places, Places]:
        """For each hash that is in the list: its place in `hashes`, and that in `keys`."""
        maybe = np.flatnonzero(self._maybe[hashes & np.uint64(_BITS)])
        wanted = hashes[maybe]
        places = np.searchsorted(self.keys, wanted)
        places[places == len(self.keys)] = 0
        same = np.flatnonzero(self.keys[places] == wanted) if len(self.keys) else places
        return maybe[same], places[same]

    def find(self, hashes: Hashes) -> tuple[Places, Places]:
        """For each pair of equal hashes: its place in `hashes`, and that in the list."""
        found, keys = self.keys_of(hashes)
        counts = self.counts[keys]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(found, counts), self._order[np.repeat(self._first[keys], counts) + within]
