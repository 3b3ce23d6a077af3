"""What a gate says in words: the reason for its verdict, and what to know before believing it."""

from dataclasses import replace

from tunix_rt.evaluation import statistics
from tunix_rt.evaluation.models import Evaluation
from tunix_rt.evaluation.statistics import Interval
from tunix_rt.regression.decision import Decided
from tunix_rt.regression.schemas import BaselineView, Checked, Metric


def itself(decided: Decided) -> Decided:
    """A baseline passes its own gate."""
    return replace(decided, verdict="pass", sufficient_n=None)


def turned(interval: Interval | None, sign: float) -> Interval | None:
    """An interval of gains as one of differences."""
    if interval is None or sign > 0:
        return interval
    return -interval[1], -interval[0]


def amount(value: float, metric: Metric) -> str:
    """A value of a metric as people read it."""
    if metric == "score":
        return f"{100 * value:.1f} points"
    return f"{value:.1f} tokens" if metric == "completion_tokens" else f"{value:.3g} s"


def reason(decided: Decided, baseline: BaselineView, margin: float, n: int, same: bool) -> str:
    """Why the verdict is what it is, in one sentence."""
    if same:
        return "This is the baseline's own evaluation."
    if decided.gain is None or decided.ci is None:
        return "No item has a value in both evaluations: there is nothing to compare."
    low, high = decided.ci
    most, least = amount(max(0.0, -low), baseline.metric), amount(max(0.0, -high), baseline.metric)
    allowed = amount(margin, baseline.metric)
    if decided.verdict == "pass" and low > 0:
        return f"With 95 % confidence it is better, by more than {amount(low, baseline.metric)}."
    if decided.verdict == "pass":
        return f"With 95 % confidence any loss is smaller than {most}, which is within the margin of {allowed}."
    if decided.verdict == "fail":
        return f"With 95 % confidence the loss is larger than {least}, which is over the margin of {allowed}."
    if decided.sufficient_n is None:
        return f"The loss seen is the margin of {allowed} itself: no number of items decides that."
    if high < -margin:
        return (
            f"With 95 % confidence the loss is larger than {least}, but the test cannot rule out chance "
            f"(p = {decided.p_value:.2g}): {n:,} items cannot tell; about {decided.sufficient_n:,} such items would, 4 "
            f"times in 5."
        )
    return (
        f"The loss may be as small as {least} or as large as {most}, on either side of the margin of {allowed}: {n:,} "
        f"items cannot tell; about {decided.sufficient_n:,} such items would, 4 times in 5."
    )


def checked(evaluation: Evaluation) -> Checked:
    """One side of a check."""
    return Checked(
        id=evaluation.id,
        name=evaluation.name,
        run_id=evaluation.run_id,
        n_items=evaluation.n_items,
        n_unscored=evaluation.n_unscored,
        n_missing=evaluation.n_missing,
        n_contaminated=evaluation.contamination["n"] if evaluation.contamination else None,
    )


def notes(base: Evaluation, other: Evaluation, n: int, n_items: int) -> list[str]:
    """What to know before believing a verdict."""
    found = []
    if n < statistics.ESTABLISHED:
        found.append(f"Not established: only {n} items have a value in both.")
    if n < n_items:
        found.append(f"{n_items - n:,} of {n_items:,} items are left out: one of the two has no value for them.")
    for evaluation, which in ((base, "baseline"), (other, "checked evaluation")):
        if evaluation.n_missing:
            found.append(f"The {which} lacks predictions for {evaluation.n_missing:,} items, scored 0.")
        if evaluation.n_repeated:
            found.append(f"The {which} leaves out {evaluation.n_repeated:,} items with repeated predictions.")
        if evaluation.contamination and evaluation.contamination["n"]:
            waived = f"; waived: {evaluation.waiver}" if evaluation.waiver else ""
            count = evaluation.contamination["n"]
            found.append(f"{count:,} items overlap with training traces behind the {which}{waived}.")
    return found
