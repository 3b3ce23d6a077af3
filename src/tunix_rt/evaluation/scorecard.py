"""From judged items to figures: every aggregate is a pure function of the rows, and can be computed again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from tunix_rt.evaluation import files
from tunix_rt.evaluation.judges import Judge, Judgement, Question
from tunix_rt.evaluation.normal import number
from tunix_rt.evaluation.schemas import Figures, Group, Outcome, PredictionLine, Scorecard
from tunix_rt.evaluation.statistics import wilson


class Scored(Protocol):
    """What an aggregate needs of a row."""

    @property
    def score(self) -> float | None:
        """0 to 1; None: unscored."""

    @property
    def missing(self) -> bool:
        """No prediction came for it."""


class Labelled(Scored, Protocol):
    """A row with its item's labels."""

    @property
    def section(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def difficulty(self) -> str | None: ...


class Item(Protocol):
    """What judging needs of an eval item."""

    @property
    def item_id(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def expected_answer(self) -> str: ...
    @property
    def meta(self) -> Mapping[str, Any]: ...
    @property
    def section(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def difficulty(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A judged item.

    Attributes:
        prediction: what was judged; None where there was none, or several.
        missing: no prediction came for it, and so its score is 0.
    """

    item_id: str
    expected_answer: str
    section: str | None
    category: str | None
    difficulty: str | None
    prediction: PredictionLine | None
    judgement: Judgement
    missing: bool = False

    @property
    def score(self) -> float | None:
        """0 to 1; None: unscored."""
        return self.judgement.score


@dataclass(frozen=True)
class Judged:
    """An eval set judged.

    Attributes:
        rows: one an item, in the eval set's order.
        unknown: ids in the predictions that the eval set does not have; repeated: ids with several predictions.
    """

    rows: list[Row]
    unknown: list[str]
    repeated: list[str]


def judge_all(items: Sequence[Item], predictions: files.Predictions, judge: Judge) -> Judged:
    """Judge every item of an eval set."""
    rows = [_row(item, predictions.by_id.get(item.item_id, []), judge) for item in items]
    known = {item.item_id for item in items}
    return Judged(
        rows,
        unknown=[name for name in predictions.by_id if name not in known],
        repeated=[name for name, found in predictions.by_id.items() if len(found) > 1 and name in known],
    )


def _row(item: Item, found: list[PredictionLine], judge: Judge) -> Row:
    labels = (item.item_id, item.expected_answer, item.section, item.category, item.difficulty)
    question = Question(item.prompt, item.expected_answer, item.meta)
    if len(found) == 1:
        judgement = judge.judge(question, found[0].output)
        if found[0].finish_reason == "length":
            note = "the output was cut off at its length limit"
            reason = f"{judgement.reason}; {note}" if judgement.reason else note
            judgement = Judgement(judgement.score, judgement.extracted, judgement.rule, reason)
        return Row(*labels, found[0], judgement)
    if found:
        return Row(*labels, None, Judgement(None, reason=f"{len(found)} predictions, and none is chosen"))
    unscorable = judge.judge(question, "")
    if unscorable.score is None:
        return Row(*labels, None, Judgement(None, reason=f"{unscorable.reason}; and there is no prediction"))
    return Row(*labels, None, Judgement(0.0, reason="no prediction"), missing=True)


def outcome(score: float | None, missing: bool) -> Outcome:
    """The one word for a row; every row has exactly one."""
    if score is None:
        return "unscored"
    if missing:
        return "missing"
    return "correct" if score == 1 else "wrong"


def figures(rows: Iterable[Scored]) -> Figures:
    """What rows amount to: a missing prediction counts as 0, an unscored item does not count."""
    n_items = n_scored = n_missing = n_correct = 0
    total = 0.0
    for row in rows:
        n_items += 1
        if row.score is not None:
            n_scored += 1
            n_missing += row.missing
            n_correct += row.score == 1
            total += row.score
    return Figures(
        n_items=n_items,
        n_scored=n_scored,
        n_missing=n_missing,
        n_unscored=n_items - n_scored,
        n_correct=n_correct,
        score=total / n_scored if n_scored else None,
        ci=wilson(total, n_scored),
    )


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
