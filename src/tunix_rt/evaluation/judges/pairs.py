"""Two models side by side: whose output a judge of pairs prefers, item by item, asked in both orders."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunix_rt.base.errors import BadInput
from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.files import Predictions
from tunix_rt.evaluation.judges.at_once import at_once
from tunix_rt.evaluation.judges.contract import Choice, Judge, Question
from tunix_rt.evaluation.schemas import EvalItemLine, Interval

_WORTH = {"a": -1.0, "tie": 0.0, "b": 1.0}


@dataclass(frozen=True)
class Pair:
    """An item as both models answered it."""

    id: str
    choice: Choice


@dataclass(frozen=True)
class Preferences:
    """Which of two models a judge prefers.

    Attributes:
        n: items with a verdict; `a`, `b` and `ties` of them. n_unscored: items without one.
        inconsistent: ties because the two orders disagreed; many of them say that the judge looks at the order.
        difference: share of items that b is preferred on, less that of a; None for n = 0.
        ci: its paired bootstrap interval, 95 %. p_value: of `test`.
        pairs: every item, in order.
    """

    judge: str
    version: str
    digest: str
    n: int
    a: int
    b: int
    ties: int
    inconsistent: int
    n_unscored: int
    difference: float | None
    ci: Interval | None
    p_value: float | None
    test: str
    verdict: statistics.Verdict
    established: bool
    pairs: list[Pair]


def preferences(
    items: Sequence[EvalItemLine],
    a: Predictions,
    b: Predictions,
    judge: Judge,
    margin: float = statistics.MARGIN,
    seed: int = 0,
) -> Preferences:
    """Ask a judge which output to each item is the better one.

    Args:
        items: of the eval set.
        a: predictions of the first model. b: of the second; one sample an item each.
        judge: one that compares.
        margin: a difference up to this share does not matter.
        seed: of the bootstrap.

    Raises:
        BadInput: the judge does not compare, there are several samples an item, or no item was answered by both.
    """
    pairwise = judge.pairwise
    if pairwise is None:
        raise BadInput(f"The judge {judge.name!r} does not compare outputs.", hint="The judge llm does.")
    for name, predictions in (("A", a), ("B", b)):
        if predictions.samples > 1:
            raise BadInput(f"{name} has {predictions.samples} samples an item.", hint="Compare one sample of each.")
    if not any(item.id in a.by_id and item.id in b.by_id for item in items):
        raise BadInput("No item of the eval set is in both files.", hint="Are these predictions for another eval set?")

    def ask(item: EvalItemLine) -> Pair:
        found = [_output(predictions, item.id) for predictions in (a, b)]
        if found[0] is None or found[1] is None:
            return Pair(item.id, Choice(None, None, "one of the two has no prediction, or several"))
        if found[0] == found[1]:
            return Pair(item.id, Choice("tie", True, "the outputs are the same"))
        return Pair(item.id, pairwise(Question(item.prompt, item.expected_answer, item.meta), found[0], found[1]))

    pairs = at_once(ask, items, judge.concurrency)
    choices = [pair.choice for pair in pairs if pair.choice.preferred is not None]
    worth = np.array([_WORTH[choice.preferred or "tie"] for choice in choices])
    ci = statistics.bootstrap(worth, seed)
    p_value, test = statistics.sign_flip(worth, seed) if len(worth) else (None, "none")
    return Preferences(
        judge=judge.name,
        version=judge.version,
        digest=judge.digest,
        n=len(worth),
        a=int((worth < 0).sum()),
        b=int((worth > 0).sum()),
        ties=int((worth == 0).sum()),
        inconsistent=sum(choice.consistent is False for choice in choices),
        n_unscored=len(pairs) - len(worth),
        difference=float(worth.mean()) if len(worth) else None,
        ci=ci,
        p_value=p_value,
        test=test,
        verdict=statistics.verdict(p_value, ci, margin),
        established=len(worth) >= statistics.ESTABLISHED,
        pairs=pairs,
    )


def _output(predictions: Predictions, item: str) -> str | None:
    """The one prediction for an item; None where there is none, or several."""
    found = predictions.by_id.get(item, {}).get(0, [])
    return predictions.lines[found[0]].output if len(found) == 1 else None
