"""How the traces of a selection are spread: pure functions of their figures, small enough to draw."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tunix_rt.datasets.schemas import Bin, Distribution
from tunix_rt.traces.schemas import SourceCount

BINS = 24
SOURCES = 20


def distribution(values: Sequence[int]) -> Distribution | None:
    """Spread of whole numbers, in at most `BINS` bins of one width; None where there are none."""
    if not values:
        return None
    low, high = min(values), max(values)
    width = -(-(high - low + 1) // BINS)
    counts = Counter((value - low) // width for value in values)
    return Distribution(
        min=low,
        mean=round(sum(values) / len(values), 4),
        max=high,
        bins=[
            Bin(low=low + place * width, high=min(high, low + (place + 1) * width - 1), count=counts[place])
            for place in range((high - low) // width + 1)
        ],
    )


def sources(found: Iterable[tuple[str | None, int]]) -> list[SourceCount]:
    """The most frequent sources with their counts; what is left is not listed."""
    ordered = sorted(found, key=lambda pair: (-pair[1], pair[0] or ""))
    return [SourceCount(source=source, count=count) for source, count in ordered[:SOURCES]]
