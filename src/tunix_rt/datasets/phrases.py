"""In how many prompts a phrase stands: exactly for the phrases of the questions, in a sketch for all others."""

import numpy as np

from tunix_rt.datasets.passages import Lookup, Passages
from tunix_rt.datasets.words import Hashes, Places


class Seen:
    """In how many prompts each phrase of the questions stands, theirs included.

    Args:
        questions: one text each.
        length: of a phrase, in words.
    """

    def __init__(self, questions: Passages, length: int) -> None:
        self.length = length
        self.hashes, self.places = questions.grams(length)
        self.lookup = Lookup(self.hashes)
        self.keys = self.lookup.keys_of(self.hashes)[1]
        self.counts = self._distinct(questions.text[self.places], self.keys)

    def _distinct(self, text: Places, keys: Places) -> Places:
        size = max(1, len(self.lookup.keys))
        counts: Places = np.bincount(np.unique(text * size + keys) % size, minlength=size)
        return counts

    def see(self, text: Places, hashes: Hashes) -> tuple[Places, Places]:
        """Count phrases of prompts; where the questions have them, as `Lookup.keys_of`."""
        hits, keys = self.lookup.keys_of(hashes)
        self.counts += self._distinct(text[hits], keys)
        return hits, keys

    def counts_of(self, begin: int, end: int) -> Places:
        """For the phrases that begin with the words `begin:end` of the questions, in order."""
        low, high = np.searchsorted(self.places, (begin, end))
        found: Places = self.counts[self.keys[low:high]]
        return found


class Sketch:
    """Counts hashes in constant memory, a few too many: the smaller of two cells (Cormode and Muthukrishnan 2005)."""

    def __init__(self) -> None:
        self._cells = np.zeros((2, 2**21), np.int64)

    @staticmethod
    def _places(hashes: Hashes) -> tuple[Hashes, Hashes]:
        return hashes & np.uint64(2**21 - 1), hashes >> np.uint64(43)

    def add(self, hashes: Hashes) -> None:
        """Count hashes."""
        for cells, places in zip(self._cells, self._places(hashes), strict=True):
            cells += np.bincount(places.astype(np.int64), minlength=len(cells))

    def of(self, hashes: Hashes) -> Places:
        """How often each came, at most."""
        first, second = self._places(hashes)
        least: Places = np.minimum(self._cells[0][first], self._cells[1][second])
        return least
