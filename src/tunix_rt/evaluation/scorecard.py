"""From judged items to figures: every aggregate is a pure function of the rows, and can be computed again."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Protocol, TypeVar

from tunix_rt.evaluation.normal import normal, number
from tunix_rt.evaluation.schemas import Figures, Group, Outcome, Sampled, Scorecard, Share
from tunix_rt.evaluation.statistics import clustered, pass_at


class Scored(Protocol):
    """What an aggregate needs of a row, one sample of an item; the samples of an item stand together."""

    @property
    def position(self) -> int: ...
    @property
    def score(self) -> float | None:
        """0 to 1; None: unscored."""

    @property
    def missing(self) -> bool:
        """No prediction came for it."""

    @property
    def extracted(self) -> str | None: ...


_Row = TypeVar("_Row", bound=Scored)


class Labelled(Scored, Protocol):
    """A row with its item's labels."""

    @property
    def section(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def difficulty(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ItemScore:
    """An item over its samples.

    Attributes:
        score: mean of those that were scored; None: none was.
        missing: at least one sample has no prediction.
    """

    score: float | None
    missing: bool


def by_item(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """The samples of each item."""
    for _, samples in groupby(rows, key=lambda row: row.position):
        yield list(samples)


def item_score(samples: Sequence[Scored]) -> ItemScore:
    """An item's score from those of its samples."""
    scores = [row.score for row in samples if row.score is not None]
    mean = sum(scores) / len(scores) if scores else None
    return ItemScore(mean, any(row.missing for row in samples))


def outcome(score: float | None, missing: bool) -> Outcome:
    """The one word for a row; every row has exactly one."""
    if score is None:
        return "unscored"
    if missing:
        return "missing"
    return "correct" if score == 1 else "wrong"


def figures(rows: Iterable[Scored]) -> Figures:
    """What rows amount to: a missing prediction counts as 0, an unscored item does not count."""
    n_items = n_scored = n_missing = n_correct = n_draws = 0
    total = squares = 0.0
    graded = False
    for samples in by_item(rows):
        item = item_score(samples)
        n_items += 1
        if item.score is not None:
            n_scored += 1
            n_missing += item.missing
            n_correct += item.score == 1
            n_draws += sum(row.score is not None for row in samples)
            graded |= any(row.score not in (None, 0, 1) for row in samples)
            total += item.score
            squares += item.score**2
    return Figures(
        n_items=n_items,
        n_scored=n_scored,
        n_missing=n_missing,
        n_unscored=n_items - n_scored,
        n_correct=n_correct,
        score=total / n_scored if n_scored else None,
        ci=clustered(total, squares, n_scored, math.inf if graded else n_draws),
    )


def sampled(rows: Iterable[Scored], samples: int) -> Sampled | None:
    """What several samples an item amount to; None where there is one, or nothing was scored."""
    if samples == 1:
        return None
    whole = [found for found in by_item(rows) if all(row.score is not None for row in found)]
    if not whole:
        return None
    ks = sorted({2**power for power in range(samples.bit_length())} | {samples})
    right = [sum(row.score == 1 for row in found) for found in whole]
    return Sampled(
        pass_at={k: _of([pass_at(samples, count, k) for count in right], samples // k) for k in ks if k <= samples},
        majority=_of([_majority(found) for found in whole], 1),
    )


def _majority(samples: Sequence[Scored]) -> float:
    said = [normal(row.extracted or "") for row in samples]
    commonest = Counter(said).most_common(1)[0][0]  # of equally common ones the first
    return samples[said.index(commonest)].score or 0.0


def _of(scores: Sequence[float], draws: int) -> Share:
    """The mean of item scores, each made of so many independent draws at most."""
    n, total = len(scores), sum(scores)
    ci = clustered(total, sum(score * score for score in scores), n, n * draws)
    assert ci is not None, "there are items"
    return Share(value=total / n, ci=ci, n=n)


def scorecard(rows: Sequence[Labelled]) -> Scorecard:
    """Figures by section, category and difficulty, each group with its own n and interval."""
    return Scorecard(
        section=_groups([(row.section, row) for row in rows]),
        category=_groups([(row.category, row) for row in rows]),
        difficulty=_groups([(row.difficulty, row) for row in rows]),
    )


def _groups(rows: list[tuple[str | None, Labelled]]) -> list[Group]:
    groups: dict[str | None, list[Scored]] = {}
    for value, row in rows:
        groups.setdefault(value, []).append(row)
    if groups.keys() <= {None}:
        return []
    return [Group(value=value, **figures(groups[value]).model_dump()) for value in sorted(groups, key=_place)]


def _place(value: str | None) -> tuple[bool, Fraction, str]:
    """Numbers in the order of their size, then words, then what has no value."""
    size = number(value) if value else None
    return value is None, size if size is not None else Fraction(10**9), value or ""
