"""Two models on the same items: the comparison as it is shown, from rows of either a file or the database."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunix_rt.evaluation import judging, scorecard, statistics
from tunix_rt.evaluation.decoding import Decoded, caveat
from tunix_rt.evaluation.schemas import Answer, Changed, ComparisonView, Side

LISTED = 1_000
"""Changed items that an answer holds."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One item as one model answered it."""

    item_id: str
    expected_answer: str
    score: float | None
    extracted: str | None
    rule: str | None


Compared = tuple[Side, Sequence[Judged]]


def side(name: str, result: Sequence[judging.Row], decoded: Decoded) -> Compared:
    """Judged predictions as one side of a comparison."""
    figures = scorecard.figures(result)
    about = Side(
        id=None,
        name=name,
        score=figures.score,
        n_scored=figures.n_scored,
        ci=figures.ci,
        decoding=decoded.decoding,
        decoding_digest=decoded.digest,
    )
    return about, items(result)


def named_decoding(of: Side) -> tuple[str, Decoded]:
    """The name and the decoding of a side."""
    return of.name, Decoded(of.decoding, of.decoding_digest)


def items(rows: Iterable[Any]) -> list[Judged]:
    """Judged samples as one row an item; of several samples the first one's answer is shown."""
    return [
        Judged(
            samples[0].item_id,
            samples[0].expected_answer,
            scorecard.item_score(samples).score,
            samples[0].extracted,
            samples[0].rule,
        )
        for samples in scorecard.by_item(rows)
    ]


def compare(
    base: Compared,
    other: Compared,
    margin: float = statistics.MARGIN,
    seed: int = 0,
) -> ComparisonView:
    """Compare two models, their rows in the same order of items.

    Args:
        base: the first, `a`. other: the second, `b`; the difference is b - a.
        margin: a difference up to this share does not matter.
        seed: of the bootstrap.
    """
    pairs = list(zip(base[1], other[1], strict=True))
    result = statistics.compare(_outcomes(base[1]), _outcomes(other[1]), margin, seed)
    found = changed(base, other)
    return ComparisonView(
        n=result.n,
        a=result.a,
        b=result.b,
        difference=result.difference,
        ci=result.ci,
        p_value=result.p_value,
        test=result.test,
        interval=f"95 %, paired bootstrap with one pseudo-item, {statistics.RESAMPLES:,} resamples, seed {seed}",
        margin=margin,
        fixed=result.fixed,
        broken=result.broken,
        unchanged=result.n - result.fixed - result.broken,
        n_unscored=len(pairs) - result.n,
        verdict=result.verdict,
        established=result.n >= statistics.ESTABLISHED,
        detectable_difference=result.detectable,
        power=power_line(result),
        note=note(result),
        decoding_note=caveat(named_decoding(base[0]), named_decoding(other[0])),
        base=base[0],
        other=other[0],
        items=found[:LISTED],
        items_left_out=max(0, len(found) - LISTED),
    )


def _outcomes(rows: Sequence[Judged]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([math.nan if row.score is None else row.score for row in rows], dtype=np.float64)


def changed(base: Compared, other: Compared) -> list[Changed]:
    """The items whose score rose or fell, in order."""
    return [
        _changed(a, b)
        for a, b in zip(base[1], other[1], strict=True)
        if a.score is not None and b.score is not None and not math.isclose(a.score, b.score, abs_tol=1e-12)
    ]


def _changed(a: Judged, b: Judged) -> Changed:
    return Changed(
        id=a.item_id,
        change="fixed" if (b.score or 0) > (a.score or 0) else "broken",
        expected_answer=a.expected_answer,
        base=Answer(score=a.score, extracted=a.extracted, rule=a.rule),
        other=Answer(score=b.score, extracted=b.extracted, rule=b.rule),
    )


def power_line(result: statistics.Comparison) -> str:
    """What so many items could have shown, in one sentence."""
    if result.n == 0:
        return "No item was scored for both: there is nothing to compare."
    if result.detectable is None:
        return f"With {result.n} items no difference, however large, could have been shown."
    share = (result.fixed + result.broken) / result.n
    return (
        f"With {result.n:,} items, {100 * share:.1f} % of which changed, a true difference of "
        f"{100 * result.detectable:.1f} points would have been shown 4 times in 5; a smaller one less often."
    )


def note(result: statistics.Comparison) -> str | None:
    """Why there is no verdict where the interval alone would give one; None where they agree."""
    if result.ci is None or result.p_value is None or result.ci[0] <= 0 <= result.ci[1]:
        return None
    if result.p_value < statistics.ALPHA:
        return None
    return (
        f"The interval just excludes 0 and the test just does not reach p < 0.05 (p = {result.p_value:.2g}): a verdict "
        "takes both, so nothing is claimed."
    )
