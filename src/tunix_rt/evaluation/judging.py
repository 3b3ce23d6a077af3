"""Judging: an eval set and what was answered to it, item by item and sample by sample. Pure, and may take long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tunix_rt.base.errors import BadInput, Fault, cut
from tunix_rt.evaluation.files import Predictions
from tunix_rt.evaluation.judges import Judge, Judgement, Question
from tunix_rt.evaluation.judges.at_once import at_once
from tunix_rt.evaluation.schemas import PredictionLine


class Item(Protocol):
    """What judging needs of an eval item."""

    @property
    def item_id(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def expected_answer(self) -> str: ...
    @property
    def section(self) -> str | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def difficulty(self) -> str | None: ...
    @property
    def meta(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A judged sample of an item.

    Attributes:
        position: of the item in its eval set.
        line: index of the prediction that was judged; None where there was none, or several.
        missing: no prediction came for it, and so its score is 0.
    """

    position: int
    sample: int
    item_id: str
    expected_answer: str
    section: str | None
    category: str | None
    difficulty: str | None
    line: int | None
    judgement: Judgement
    missing: bool = False

    @property
    def score(self) -> float | None:
        """0 to 1; None: unscored."""
        return self.judgement.score

    @property
    def extracted(self) -> str | None:
        """The answer that was found."""
        return self.judgement.extracted

    @property
    def rule(self) -> str | None:
        """Which rule found it."""
        return self.judgement.rule


@dataclass(frozen=True)
class Judged:
    """An eval set judged.

    Attributes:
        rows: `samples` of each item, in the eval set's order.
        samples: answers an item.
        unknown: ids in the predictions that the eval set does not have.
        repeated: ids with several predictions of one sample.
    """

    rows: list[Row]
    samples: int
    unknown: list[str]
    repeated: list[str]


def unknown_ids(items: Sequence[Item], predictions: Predictions) -> list[str]:
    """The ids in the predictions that the eval set does not have.

    Raises:
        BadInput: it has none of them.
    """
    known = {item.item_id for item in items}
    unknown = [name for name in predictions.by_id if name not in known]
    if len(unknown) == len(predictions.by_id):
        raise BadInput(
            f"None of the {len(unknown):,} ids in the predictions is in this eval set.",
            hint="Are these the predictions for another eval set?",
            faults=[Fault("line 1", f"the id {cut(unknown[0], 60)!r}; the eval set has {cut(items[0].item_id, 60)!r}")],
        )
    return unknown


def judged(items: Sequence[Item], predictions: Predictions, judge: Judge) -> Judged:
    """Judge every sample of every item.

    Raises:
        BadInput: not one of the predictions is for an item of this eval set.
    """
    unknown = unknown_ids(items, predictions)
    known = {item.item_id for item in items}
    asked = [
        (position, item, sample, predictions.by_id.get(item.item_id, {}).get(sample, []))
        for position, item in enumerate(items)
        for sample in range(predictions.samples)
    ]

    def row(one: tuple[int, Item, int, list[int]]) -> Row:
        position, item, sample, found = one
        return _row(position, item, sample, found, predictions.lines, judge)

    return Judged(
        at_once(row, asked, judge.concurrency),
        predictions.samples,
        unknown,
        [name for name, found in predictions.by_id.items() if name in known and max(map(len, found.values())) > 1],
    )


def _row(
    position: int, item: Item, sample: int, found: list[int], lines: Sequence[PredictionLine], judge: Judge
) -> Row:
    about = (position, sample, item.item_id, item.expected_answer, item.section, item.category, item.difficulty)
    question = Question(item.prompt, item.expected_answer, item.meta)
    if len(found) == 1:
        line = lines[found[0]]
        judgement = judge.judge(question, line.output)
        if line.finish_reason == "length":
            note = "the output was cut off at its length limit"
            reason = f"{judgement.reason}; {note}" if judgement.reason else note
            judgement = Judgement(judgement.score, judgement.extracted, judgement.rule, reason)
        return Row(*about, found[0], judgement)
    if found:
        return Row(*about, None, Judgement(None, reason=f"{len(found)} predictions, and none is chosen"))
    unscorable = judge.unscorable(question)
    if unscorable is not None:
        return Row(*about, None, Judgement(None, reason=f"{unscorable}; and there is no prediction"))
    return Row(*about, None, Judgement(0.0, reason="no prediction"), missing=True)
