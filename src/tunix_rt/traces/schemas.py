"""What the routes of the traces take and give: the filters of a search, the answers. The trace itself: `format`."""

import uuid
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tunix_rt.base.http import Body, Time, UtcTime
from tunix_rt.traces.format import MAX_SOURCE

INT32 = 2**31 - 1


# --- filters ----------------------------------------------------------------------------------------------------


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, int | float) else value


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds NUL, which no stored text does")
    return text


Text = Annotated[str, AfterValidator(_storable)]
SourceName = Annotated[str, Field(min_length=1, max_length=MAX_SOURCE), AfterValidator(_storable)]
Count = Annotated[int, Field(ge=0, le=INT32)]


class TraceFilters(Body):
    """Which traces are meant; every filter that is set must hold.

    `created_after` and `created_before` exclude the moment itself; a time without a zone is UTC.
    """

    source: SourceName | None = Field(default=None, description="`none`: traces without a source")
    q: Annotated[str, Field(max_length=1_000), AfterValidator(_storable)] | None = Field(
        default=None, description="words that all occur in prompt or answer"
    )
    meta: dict[Text, Annotated[Text, BeforeValidator(_as_text)]] = Field(
        default={}, description="top-level keys of meta with their values as text; numbers compare as numbers"
    )
    min_steps: Count | None = None
    max_steps: Count | None = None
    created_after: UtcTime | None = None
    created_before: UtcTime | None = None

    @field_validator("q")
    @classmethod
    def _has_a_word(cls, q: str | None) -> str | None:
        if q is not None and not any(char.isalnum() for char in q):
            raise ValueError("holds no word to look for; leave it out to find all traces")
        return q

    @field_validator("max_steps")
    @classmethod
    def _not_below(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_steps")
        if most is not None and least is not None and most < least:
            raise ValueError(f"is below min_steps ({least}): no trace can match")
        return most

    @model_validator(mode="after")
    def _in_order(self) -> "TraceFilters":
        if self.created_after and self.created_before and self.created_before <= self.created_after:
            raise ValueError("created_before is not later than created_after: no trace can match")
        return self


# --- answers ----------------------------------------------------------------------------------------------------


class Created(BaseModel):
    """A stored trace, new or already there."""

    id: uuid.UUID
    created_at: Time
    trace_version: str
    digest: str


class BatchCreated(BaseModel):
    """The traces of a batch, in the order of the request."""

    created_count: int
    already_present: int
    traces: list[Created]


class Rejected(BaseModel):
    """A line that was not imported, and why."""

    line: int
    reason: str


class ImportReport(BaseModel):
    """Every line accounted for: lines = created + already_present + rejected_count + blank."""

    format: str | None = Field(description="the format that was asked for or detected; null: no line told it")
    source: str | None = Field(description="the source of all good lines, `none` if they have none; null: they differ")
    created: int
    already_present: int
    source_set: int = Field(description="of those already present: had no source and got the line's")
    rejected: list[Rejected] = Field(description="the first 100")
    rejected_count: int
    lines: int
    blank: int


class TraceRow(BaseModel):
    """A trace in a list."""

    id: uuid.UUID
    created_at: Time
    trace_version: str
    digest: str
    source: str | None
    step_count: int
    prompt_preview: str = Field(description="the first 200 characters")
    answer_preview: str = Field(description="the first 200 characters")


class Score(BaseModel):
    """A score of a trace."""

    criteria: str
    score: float
    details: dict[str, Any]
    created_at: Time


class StepOut(BaseModel):
    """A step as it is stored."""

    i: int
    type: str
    content: str
    meta: dict[str, Any] | None = None


class TraceOut(BaseModel):
    """A whole trace."""

    id: uuid.UUID
    created_at: Time
    digest: str
    source: str | None
    trace_version: str
    prompt: str
    steps: list[StepOut]
    final_answer: str
    meta: dict[str, Any]
    scores: list[Score]


class ScoreBody(Body):
    """By which criteria to score."""

    model_config = ConfigDict(strict=True)

    criteria: str = "baseline"


class Scored(BaseModel):
    """A new score."""

    trace_id: uuid.UUID
    score: float
    details: dict[str, Any]


class Span(BaseModel):
    """A run of words: the same on both sides, only in the base, or only in the other."""

    op: Literal["equal", "delete", "insert"]
    text: str


class StepDiff(BaseModel):
    """A pair of aligned steps; `base` and `other` are places in the lists of steps, null where a side has none."""

    op: Literal["equal", "replace", "insert", "delete"]
    base: int | None
    other: int | None
    words: list[Span] | None = Field(description="of a replaced pair: its words, in order")


class Side(BaseModel):
    """One of two compared traces, with its baseline score worked out here and now."""

    trace: TraceOut
    baseline: float


class Comparison(BaseModel):
    """Two traces side by side."""

    base: Side
    other: Side
    same_prompt: bool
    same_answer: bool
    steps: list[StepDiff]


class SourceCount(BaseModel):
    """The number of traces of a source."""

    source: str | None = Field(description="null: they have none")
    count: int


class SourceCounts(BaseModel):
    """The sources of the matching traces, the most frequent first."""

    data: list[SourceCount] = Field(description="the 1,000 most frequent, and always those without a source")
    total: int = Field(description="all matching traces")


class SetSourceBody(Body):
    """A source, and the stored traces that get it: those with these ids, or all that match the filters."""

    source: SourceName = Field(description="`none`: no source any more")
    ids: Annotated[list[str], Field(min_length=1, max_length=1_000)] | None = Field(
        default=None, description="whole, or the first 6 or more hexadecimal digits"
    )
    filters: TraceFilters | None = Field(default=None, description="an empty object: all traces")

    @model_validator(mode="after")
    def _either(self) -> "SetSourceBody":
        if (self.ids is None) == (self.filters is None):
            raise ValueError("give either ids or filters; filters {} stand for all traces")
        return self


class SourceChange(BaseModel):
    """How many traces were changed."""

    changed: int
    unchanged: int = Field(description="traces that had this source already")


class SourceOut(BaseModel):
    """A source of generated traces."""

    name: str
    description: str
    options: dict[str, Any] = Field(description="JSON schema of its options")
    problem: str | None = Field(description="why it cannot be used, where it cannot")


class Sources(BaseModel):
    """All sources that are installed."""

    data: list[SourceOut]


class GenerateBody(Body):
    """What to generate; the same request gives the same traces."""

    model_config = ConfigDict(strict=True)

    source: Annotated[str, Field(min_length=1, max_length=MAX_SOURCE)]
    count: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    options: dict[str, Any] = Field(default={}, description="the source's parameters")


class Generated(BaseModel):
    """What was stored of a generation."""

    source: str
    seed: int
    count: int
    created: int
    already_present: int
