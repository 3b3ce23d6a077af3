"""How long things took, in buckets: counted in a process, handed on in portions, added up in the database."""

from bisect import bisect_left
from dataclasses import dataclass, field

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; what is longer falls into one more bucket."""


@dataclass
class Histogram:
    """Durations of one name.

    Attributes:
        counts: how many fell into each bucket of `BUCKETS`, and beyond the last.
        total: their sum in seconds.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, other: "Histogram") -> None:
        """Add another histogram's durations to these."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Durations:
    """Durations by name, since they were last taken."""

    def __init__(self) -> None:
        self.found: dict[str, Histogram] = {}

    def add(self, name: str, seconds: float) -> None:
        """Count one duration."""
        histogram = self.found.setdefault(name, Histogram())
        histogram.counts[bisect_left(BUCKETS, seconds)] += 1
        histogram.total += seconds

    def take(self) -> dict[str, Histogram]:
        """Hand over what was counted and start anew."""
        taken, self.found = self.found, {}
        return taken

    def give_back(self, taken: dict[str, Histogram]) -> None:
        """Count again what was taken but could not be stored."""
        for name, histogram in taken.items():
            self.found.setdefault(name, Histogram()).add(histogram)
