"""Shapes of the evaluation: lines of the files that come in, and what the API answers."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from tunix_rt.base import jsontext
from tunix_rt.base.http import Body, Time
from tunix_rt.jobs.models import JobState
from tunix_rt.runs.schemas import RunEvaluation


def _as_text(value: Any) -> Any:
    """A number written without quotes is its text; nothing else is converted."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return jsontext.dumps(value).decode()
    return value


Text = Annotated[StrictStr, BeforeValidator(_as_text)]
Id = Annotated[Text, Field(min_length=1, max_length=200)]
Label = Annotated[Text, Field(min_length=1, max_length=200)]
PLAIN = r"^[^\x00-\x1f\x7f]+$"
"""Text without control characters, and so without NUL, which no database keeps."""
PlainText = Annotated[StrictStr, Field(pattern=PLAIN)]
Digest = Annotated[StrictStr, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Interval = tuple[float, float]
Outcome = Literal["correct", "wrong", "missing", "unscored"]


class EvalItemLine(Body):
    """A line of an eval set."""

    id: Id
    prompt: Annotated[StrictStr, Field(min_length=1, max_length=50_000)]
    expected_answer: Annotated[Text, Field(max_length=50_000)]
    section: Label | None = None
    category: Label | None = None
    difficulty: Label | None = None
    meta: dict[str, Any] = Field(default_factory=dict)


class PredictionLine(Body):
    """A line of predictions: what a model answered to an item."""

    id: Id
    output: StrictStr
    finish_reason: Annotated[StrictStr, Field(max_length=64)] | None = None
    prompt_tokens: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    completion_tokens: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    latency_s: Annotated[float, Field(ge=0)] | None = None
    sample: Annotated[int, Field(strict=True, ge=0, lt=1000)] = 0
    decoding: Digest | None = None


class Decoding(BaseModel):
    """How the outputs were decoded. Whatever is not said is unknown, and unknown is a board of its own.

    The seed is kept and is no part of the board: it changes the draw, not what is drawn from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What is stated, without the seed."""
        return self.model_dump(exclude={"seed"}, exclude_none=True)


class Figures(BaseModel):
    """What a set of items amounts to. A share is of the scored; a missing prediction is scored 0 and counted.

    With several samples an item, its score is the mean of theirs; the interval is clustered by item.
    """

    n_items: int
    n_scored: int
    n_missing: int  # items without a prediction of each sample
    n_unscored: int
    n_correct: int  # items with all samples right
    score: float | None
    ci: Interval | None  # Wilson, 95 %


class Share(BaseModel):
    """A share of items with its interval (95 %) and n."""

    value: float
    ci: Interval
    n: int


class Sampled(BaseModel):
    """What several samples an item amount to.

    pass_at: by k, the chance that one of k samples is right (Chen et al. 2021, unbiased).
    majority: how often the commonest answer of an item is right; of equally common ones the first.
    """

    pass_at: dict[int, Share]
    majority: Share


class Contamination(BaseModel):
    """How far an eval set overlaps with the training traces behind a model, and the figures without those items."""

    method: str
    n: int  # items that overlap
    share: float
    clean: Figures


class ContaminatedItem(BaseModel):
    """An item that stands in a training trace; see `datasets.contamination.Overlap`."""

    id: str
    kind: str
    share: float
    trace: str


class ContaminationView(BaseModel):
    """What of an eval set stands in the training split of a data set, and by which rule that was decided."""

    dataset_key: str
    split: str
    eval_set: str  # digest
    method: str
    thresholds: dict[str, float]
    n_traces: int
    n_items: int
    n_contaminated: int
    share: float | None
    kinds: dict[str, int]
    items: list[ContaminatedItem]


class Group(Figures):
    """Figures of the items with one value of a label; null: items without that label."""

    value: str | None


class Scorecard(BaseModel):
    """Figures by each label; a label that no item carries has no groups."""

    section: list[Group] = []
    category: list[Group] = []
    difficulty: list[Group] = []


class EvalSetView(BaseModel):
    """An eval set without its items."""

    id: uuid.UUID
    name: str
    digest: str
    created_at: Time
    n_items: int


class EvaluationView(Figures):
    """An evaluation as lists show it."""

    id: uuid.UUID
    name: str
    created_at: Time
    eval_set: str
    eval_set_digest: str
    judge: str
    judge_version: str
    judge_digest: str
    decoding: Decoding
    decoding_digest: str
    model_id: str | None
    dataset_key: str | None
    run_id: uuid.UUID | None
    n_unknown: int
    n_repeated: int
    established: bool
    samples: int
    contamination: Contamination | None  # null: nobody knows which traces are behind it
    waiver: str | None  # why it is on the board in spite of its contamination
    held_back: bool  # kept off the board until it is waived


class EvaluationDetail(EvaluationView):
    """An evaluation with its scorecard and the rules that found its answers."""

    sampled: Sampled | None  # null with one sample an item
    scorecard: Scorecard
    rules: dict[str, int]


class EvaluationCreated(EvaluationDetail):
    """What an upload of predictions came to."""

    unknown_ids: list[str]  # the first 20
    repeated_ids: list[str]


class EvaluationAccepted(BaseModel):
    """An evaluation that a worker will make."""

    run_id: uuid.UUID
    eval_set: str
    judge: str
    job: int


class QueuedEvaluation(RunEvaluation):
    """An evaluation of a run that is waiting, running, or failed."""

    job: int
    run_id: uuid.UUID
    dataset_key: str
    model_id: str
    judge: str
    created_at: Time


class JudgingView(BaseModel):
    """A judging that a worker does, asked for with `mode=async`.

    job: what to ask for again: `/api/judgings/{job}`.
    reason: how the last attempt ended, where it was not done.
    n: outputs. n_judged: how many of them are, at the last look.
    evaluation_id: where it is done.
    """

    job: int
    state: JobState
    reason: str | None
    judge: str
    n: int
    n_judged: int
    evaluation_id: uuid.UUID | None


class Waiver(Body):
    """Why an evaluation shall be on the board in spite of its contamination."""

    reason: Annotated[StrictStr, Field(min_length=1, max_length=2_000)]


class Difference(BaseModel):
    """Something of an evaluation that does not come out again."""

    what: str  # a figure's name, or `item ID, sample N`
    stored: Any
    computed: Any


class Verified(BaseModel):
    """What a verification of an evaluation found.

    n_items: whose figures were computed again.
    n_judged: predictions that were judged again; 0 with the reason in `not_judged`.
    differences: the first 100 of `n_differences`.
    """

    ok: bool
    n_items: int
    n_judged: int
    not_judged: str | None
    n_differences: int
    differences: list[Difference]


class ItemView(BaseModel):
    """One judged sample of an item."""

    id: str
    sample: int
    prompt: str
    expected_answer: str
    section: str | None
    category: str | None
    difficulty: str | None
    output: str | None
    extracted: str | None
    rule: str | None
    score: float | None
    outcome: Outcome
    reason: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    contamination: str | None  # how the item overlaps with a training trace


class Side(BaseModel):
    """One of two compared models: its own figures over all its items."""

    id: uuid.UUID | None
    name: str
    score: float | None
    n_scored: int
    ci: Interval | None
    decoding: Decoding
    decoding_digest: str


class Answer(BaseModel):
    """What one model answered to an item."""

    score: float | None
    extracted: str | None
    rule: str | None


class Changed(BaseModel):
    """An item whose score rose or fell; with several samples, the mean of theirs."""

    id: str
    change: Literal["fixed", "broken"]
    expected_answer: str
    base: Answer
    other: Answer


class ComparisonView(BaseModel):
    """Two models on the same items: `a` and `b` are their scores there, `difference` is b - a."""

    n: int
    a: float | None
    b: float | None
    difference: float | None
    ci: Interval | None
    p_value: float | None
    test: str
    interval: str
    margin: float
    fixed: int
    broken: int
    unchanged: int
    n_unscored: int  # items that one of the two has no score for; they are left out of n
    verdict: Literal["better", "worse", "equivalent", "inconclusive"]
    established: bool
    detectable_difference: float | None
    power: str
    note: str | None  # where the test and the interval seem to say different things
    decoding_note: str | None  # where the two were decoded differently, or that is not known
    base: Side
    other: Side
    items: list[Changed]  # the first 1,000
    items_left_out: int


class BoardRow(EvaluationView):
    """A row of a board."""

    rank: int | None  # null where the row is held back
    p_value: float | None  # against the board's first row, Holm over the board; null for that row itself
    older: int  # earlier evaluations of the same name or run, which do not count


class BoardView(BaseModel):
    """Evaluations that may be compared: same eval set, same judge, same decoding."""

    eval_set: str
    eval_set_digest: str
    judge: str
    judge_version: str
    judge_digest: str
    decoding: Decoding
    decoding_digest: str
    n_items: int
    n_rows: int  # on the whole board, as far as the filters show it
    n_older: int
    rows: list[BoardRow]  # those that are held back last
    next_row: uuid.UUID | None  # more rows come after it: ask for them with `row_after`


class Piece(BaseModel):
    """A part of a text; a calculation where `right` says something."""

    text: str
    right: bool | None
    value: str | None = Field(description="what the left side of the calculation is")


class CheckedText(BaseModel):
    """A text cut at its calculations: the pieces joined are the text."""

    pieces: list[Piece]
    apart: list[Piece] = Field(description="noted in the meta, or written so that they have no place in the text")


class TraceCalculations(BaseModel):
    """What a trace calculates."""

    trace_id: uuid.UUID
    steps: list[CheckedText] = Field(description="in the order of the trace's steps")
    final_answer: CheckedText
    right: int
    wrong: int
