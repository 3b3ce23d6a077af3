"""Calibration: how far a judge agrees with people, with itself, and with the length of what it reads.

A judge accepts an output where its score is at least a half. Intervals are of 95 % and take items to be independent:
Wilson's for shares (over prompts for pairs), the percentile bootstrap for kappa (seeded), Fisher's for the
correlation and Welch's for the difference. Held against known truths they cover 92 to 99 %, Welch's, since lengths are
skewed, 90 to 97 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tunix_rt.base.http import Body
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges import Choice, Judge, Judgement, Question, kind, named
from tunix_rt.evaluation.judges.at_once import at_once
from tunix_rt.evaluation.schemas import Id, Text
from tunix_rt.evaluation.statistics import clustered, wilson

RESAMPLES = 10_000
FEWEST = 5  # wrong verdicts (of each kind for a difference), below which no interval of their length is honest
PAIRS = 1_000  # of outputs to one prompt that are compared, at most
_Z = NormalDist().inv_cdf(0.975)
Floats = NDArray[np.float64]
Interval = tuple[float, float]


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
        n: items, or prompts, that it is from.
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
        swapped: share of pairs with the same preference in both orders; None: no judge of pairs, or no pairs. The mean
            over prompts, which are its n.
        preferred: share of pairs in which the output labelled right was preferred; likewise.
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
    # With an item more, a quarter of it in each cell: a bootstrap cannot draw from a cell that nothing fell into.
    chances = (counts[0] + 0.25) / (len(scored) + 1)
    resampled = np.random.default_rng(seed).multinomial(len(scored) + 1, chances, RESAMPLES)
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
        length_bias=length_bias(accepted - right, length),
        length_difference=length_difference(accepted - right, length),
    )


def _again(judge: str, repeats: int) -> list[str]:
    """The judge's name for each time: with `repeat` where it has one, or kept replies would agree with themselves."""
    if "repeat" not in kind(judge.partition(":")[0]).parameters.model_fields:
        return [judge] * repeats
    return [judge] + [f"{judge}{',' if ':' in judge else ':'}repeat={turn}" for turn in range(1, repeats)]


def _judge(judge: Judge, labels: Sequence[LabelLine]) -> list[Judgement]:
    return at_once(lambda line: judge.judge(_question(line), line.output), labels, judge.concurrency)


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


def length_bias(error: Floats, length: Floats) -> Figure:
    """Pearson's correlation of error (accepted - label) and log length, with Fisher's (1921) interval."""
    n, logs = len(error), np.log1p(length)
    if np.count_nonzero(error) < FEWEST or min(error.std(), logs.std()) < 1e-9:
        return Figure(None, None, n)
    found = float(np.corrcoef(error, logs)[0, 1])
    middle, half = math.atanh(min(max(found, -1 + 1e-12), 1 - 1e-12)), _Z / math.sqrt(n - 3)
    return Figure(found, (math.tanh(middle - half), math.tanh(middle + half)), n)


def length_difference(error: Floats, length: Floats) -> Figure:
    """Mean length of the wrongly accepted less that of the wrongly rejected, with Welch's (1947) interval."""
    accepted, rejected = length[error == 1], length[error == -1]
    if min(len(accepted), len(rejected)) < FEWEST:
        return Figure(None, None, len(error))
    found = float(accepted.mean() - rejected.mean())
    parts = [float(one.var(ddof=1)) / len(one) for one in (accepted, rejected)]
    if sum(parts) == 0:
        return Figure(found, (found, found), len(error))
    free = sum(parts) ** 2 / sum(
        part**2 / (len(one) - 1) for part, one in zip(parts, (accepted, rejected), strict=True)
    )
    half = _t(free) * math.sqrt(sum(parts))
    return Figure(found, (found - half, found + half), len(error))


def _t(free: float) -> float:
    """The 0.975 quantile of Student's t: Newton's steps from the normal one, the density integrated by Gauss's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(50)
    scale = math.exp(math.lgamma((free + 1) / 2) - math.lgamma(free / 2)) / math.sqrt(free * math.pi)

    def density(t: Floats | float) -> Any:
        return scale * (1 + t * t / free) ** (-(free + 1) / 2)

    t = _Z
    for _ in range(20):  # rises to it, for the distribution is concave above 0
        t -= float((t / 2 * weights @ density(t / 2 * (nodes + 1)) - 0.475) / density(t))
    return t


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

    prompts: dict[str, list[Choice]] = {}
    for (right, _), choice in zip(pairs, at_once(ask, pairs, judge.concurrency), strict=True):
        if choice.preferred is not None:
            prompts.setdefault(right.prompt, []).append(choice)
    return (
        _over_prompts([[choice.consistent is True for choice in found] for found in prompts.values()]),
        _over_prompts([[choice.preferred == "a" for choice in found] for found in prompts.values()]),
    )


def _over_prompts(prompts: Sequence[Sequence[bool]]) -> Figure:
    """The mean over prompts of the share of their pairs: pairs of one prompt share outputs, and are not independent."""
    shares = [sum(found) / len(found) for found in prompts]
    n, total, pairs = len(shares), sum(shares), sum(map(len, prompts))
    return Figure(total / n if n else None, clustered(total, sum(share**2 for share in shares), n, pairs), n)
