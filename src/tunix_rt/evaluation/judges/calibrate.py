"""Calibration: how far a judge agrees with people, with itself, and with the length of what it reads.

A judge accepts an output where its score is at least a half. Intervals are of 95 %: Wilson's for shares, and the
percentile bootstrap over items (seeded) for the rest.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tunix_rt.base.http import Body
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges import Choice, Judge, Judgement, Question, kind, named
from tunix_rt.evaluation.schemas import Id, Text
from tunix_rt.evaluation.statistics import wilson

RESAMPLES = 2_000
PAIRS = 1_000  # of outputs to one prompt that are compared, at most
_BLOCK = 2_000_000  # drawn items that are held at once
Floats = NDArray[np.float64]
Interval = tuple[float, float]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class LabelLine(Body):
    """A line of labels: an output, and whether people find it right (1) or not (0)."""

    id: Id
    prompt: str
    expected_answer: Text = ""
    output: str
    label: Literal[0, 1]
    meta: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A figure with its interval; None where it is not defined, as the kappa of labels that are all the same.

    Attributes:
        n: items, or pairs, that it is from.
    """

    value: float | None
    ci: Interval | None
    n: int


@dataclass(frozen=True)
class Calibration:
    """What a judge is worth.

    Attributes:
        n_unscored: items without a score; they count nowhere but here.
        table: how many were accepted and labelled right, accepted and wrong, rejected and right, rejected and wrong.
        agreement: share of items where the judge says what the label says. kappa: Cohen's, beyond chance.
        repeated: share of items with the same verdict each time; None: judged once.
        swapped: share of pairs with the same preference in both orders; None: no judge of pairs, or no pairs.
        preferred: share of pairs in which the output labelled right was preferred.
        length_bias: correlation of (accepted - label) with the logarithm of the output's length: above 0, the judge
            likes long outputs better than people do.
        length_difference: mean characters of the wrongly accepted, less those of the wrongly rejected.
    """

    judge: str
    version: str
    digest: str
    n_items: int
    n_unscored: int
    table: tuple[int, int, int, int]
    agreement: Figure
    kappa: Figure
    repeated: Figure | None
    swapped: Figure | None
    preferred: Figure | None
    length_bias: Figure
    length_difference: Figure


def calibrate(
    labels: Sequence[LabelLine], judge: str, settings: Settings, repeats: int = 2, seed: int = 0
) -> Calibration:
    """Hold a judge against labels.

    Args:
        judge: as `named` takes it; one with a parameter `repeat` is asked anew each time.
        repeats: how often each item is judged.
        seed: of the bootstrap.
    """
    first, *others = [named(text, settings) for text in _again(judge, repeats)]
    judgements = _judge(first, labels)
    scored = [place for place, found in enumerate(judgements) if found.score is not None]
    accepted = np.array([_accepts(judgements[place]) for place in scored], dtype=np.float64)
    right = np.array([labels[place].label for place in scored], dtype=np.float64)
    length = np.array([len(labels[place].output) for place in scored], dtype=np.float64)
    table = (
        int((accepted * right).sum()),
        int((accepted * (1 - right)).sum()),
        int(((1 - accepted) * right).sum()),
        int(((1 - accepted) * (1 - right)).sum()),
    )
    counts = np.array([table], dtype=np.float64)
    resampled = np.random.default_rng(seed).multinomial(len(scored), counts[0] / max(1, len(scored)), RESAMPLES)
    columns = np.stack([accepted - right, np.log1p(length), length])
    swapped, preferred = _pairs(first, labels)
    return Calibration(
        judge=first.name,
        version=first.version,
        digest=first.digest,
        n_items=len(labels),
        n_unscored=len(labels) - len(scored),
        table=table,
        agreement=_share(table[0] + table[3], len(scored)),
        kappa=_figure(kappa(counts), kappa(resampled.astype(np.float64)), len(scored)),
        repeated=_repeated(judgements, [_judge(other, labels) for other in others]) if others else None,
        swapped=swapped,
        preferred=preferred,
        length_bias=_bootstrapped(columns, correlation, seed),
        length_difference=_bootstrapped(columns, difference, seed),
    )


def _again(judge: str, repeats: int) -> list[str]:
    """The judge's name for each time: with `repeat` where it has one, or kept replies would agree with themselves."""
    if "repeat" not in kind(judge.partition(":")[0]).parameters.model_fields:
        return [judge] * repeats
    return [judge] + [f"{judge}{',' if ':' in judge else ':'}repeat={turn}" for turn in range(1, repeats)]


def _judge(judge: Judge, labels: Sequence[LabelLine]) -> list[Judgement]:
    return _at_once(lambda line: judge.judge(_question(line), line.output), labels, judge.concurrency)


def _at_once(work: Callable[[_In], _Out], inputs: Sequence[_In], concurrency: int) -> list[_Out]:
    if concurrency == 1:
        return list(map(work, inputs))
    with ThreadPoolExecutor(concurrency, thread_name_prefix="judge") as pool:
        return list(pool.map(work, inputs))


def _question(line: LabelLine) -> Question:
    return Question(line.prompt, line.expected_answer, line.meta)


def _accepts(found: Judgement) -> bool:
    return found.score is not None and found.score >= 0.5


def _share(part: int, whole: int) -> Figure:
    return Figure(part / whole if whole else None, wilson(part, whole), whole)


def _figure(value: Floats, resampled: Floats, n: int) -> Figure:
    drawn = resampled[~np.isnan(resampled)]
    if n == 0 or np.isnan(value[0]) or not drawn.size:
        return Figure(None, None, n)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Figure(float(value[0]), (float(low), float(high)), n)


def kappa(tables: Floats) -> Floats:
    """Cohen's kappa (1960) of tables (T, 4), as in `Calibration.table`; NaN where all is of one kind."""
    n = tables.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b, c, d = (tables / n[:, None]).T
        chance = (a + b) * (a + c) + (c + d) * (b + d)
        found: Floats = np.where(np.isclose(chance, 1), np.nan, (a + d - chance) / (1 - chance))
    return found


def correlation(drawn: Floats) -> Floats:
    """Pearson's correlation of the first two columns of draws (3, draws, items); NaN where one is constant."""
    x, y = (column - column.mean(axis=1, keepdims=True) for column in drawn[:2])
    spread = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > 1e-12, (x * y).sum(axis=1) / spread, np.nan)
    return found


def difference(drawn: Floats) -> Floats:
    """Mean length of the wrongly accepted less that of the wrongly rejected; NaN where there are none of either."""
    error, _, length = drawn
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [(length * (error == sign)).sum(axis=1) / (error == sign).sum(axis=1) for sign in (1, -1)]
    found: Floats = means[0] - means[1]
    return found


def _bootstrapped(columns: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Figure:
    """A statistic of items, and of resamples of them."""
    n = columns.shape[1]
    if n == 0:
        return Figure(None, None, 0)
    random = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // n)
    resampled = [
        statistic(columns[:, random.integers(0, n, (min(at_once, RESAMPLES - done), n))])
        for done in range(0, RESAMPLES, at_once)
    ]
    return _figure(statistic(columns[:, None, :]), np.concatenate(resampled), n)


def _repeated(first: Sequence[Judgement], others: Sequence[Sequence[Judgement]]) -> Figure:
    same = [
        all(_accepts(found) == _accepts(again) for again in turns)
        for found, *turns in zip(first, *others, strict=True)
        if found.score is not None and all(again.score is not None for again in turns)
    ]
    return _share(sum(same), len(same))


def _pairs(judge: Judge, labels: Sequence[LabelLine]) -> tuple[Figure | None, Figure | None]:
    """Preferences between a right and a wrong output to the same prompt, each asked in both orders."""
    by_prompt: dict[str, tuple[list[LabelLine], list[LabelLine]]] = {}
    for line in labels:
        by_prompt.setdefault(line.prompt, ([], []))[line.label].append(line)
    pairs = list(islice((pair for wrong, right in by_prompt.values() for pair in product(right, wrong)), PAIRS))
    pairwise = judge.pairwise
    if pairwise is None or not pairs:
        return None, None

    def ask(pair: tuple[LabelLine, LabelLine]) -> Choice:
        return pairwise(_question(pair[0]), pair[0].output, pair[1].output)

    found = [choice for choice in _at_once(ask, pairs, judge.concurrency) if choice.preferred is not None]
    return (
        _share(sum(choice.consistent is True for choice in found), len(found)),
        _share(sum(choice.preferred == "a" for choice in found), len(found)),
    )
