"""What goes in and out of the data sets' routes."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from tunix_rt.base.http import Body, Time
from tunix_rt.traces.schemas import ImportReport, SourceCount, TraceFilters, TraceRow

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
Name = Annotated[
    str,
    Field(max_length=99, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="lower case letters, digits, . _ -"),
]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class BuildRequest(Body):
    """What a data set is made of.

    Attributes:
        name: of the data set; with `version` it makes the key.
        version: left out: the next `v1`, `v2`, … of this name; the existing one when the content is the same.
        filters: which traces; none: all.
        limit: how many at most.
        selection_strategy: `latest` takes the newest first; `random` draws by `seed`.
        seed: of the random selection.
        splits: share of each split but `train`, which gets the rest.
        group_by: what is never divided between splits: `trace`, `prompt`, or a key of the meta as `meta.KEY`.
        parent: key of the data set that this one was made from.
        provenance: anything the caller wants to keep with it.
    """

    name: Name
    version: Name | None = None
    filters: TraceFilters = TraceFilters()
    limit: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    selection_strategy: Literal["latest", "random"] = "latest"
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    splits: dict[Name, Share] = Field(default_factory=dict)
    group_by: Annotated[str, Field(pattern=r"^(trace|prompt|meta\..{1,100})$")] = "trace"
    parent: str | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "BuildRequest":
        if self.selection_strategy == "random" and self.seed is None:
            raise ValueError("selection_strategy random needs a seed, so that it can be repeated")
        if "train" in self.splits:
            raise ValueError("train gets what the other splits leave; leave it out")
        if sum(self.splits.values()) >= 1:
            raise ValueError("the shares of the splits leave nothing to train")
        return self

    @field_validator("name", "version")
    @classmethod
    def _whole(cls, value: str | None) -> str | None:
        if value is not None and not NAME.match(value):  # `$` of the pattern would admit a newline at the end
            raise ValueError("a name has lower case letters, digits, . _ - and begins with a letter or digit")
        return value


class Split(BaseModel):
    """A split of a data set: how many traces, and the digest over their ids in order."""

    count: int
    digest: str


class Span(BaseModel):
    """Spread of a figure over the traces of a data set."""

    min: int
    mean: float
    max: int


class Manifest(BaseModel):
    """A data set version, as `spec/formats.md` says."""

    dataset_key: str
    name: str
    version: str
    digest: str
    created_at: Time
    trace_count: int
    filters: dict[str, Any]
    selection_strategy: str
    seed: int | None
    limit: int | None
    group_by: str
    splits: dict[str, Split]
    shares: dict[str, float]
    stats: dict[str, Span]
    parent: str | None
    provenance: dict[str, Any]


class Ingested(Manifest):
    """A data set of one file's traces, with what became of each line."""

    ingested: ImportReport


class Bin(BaseModel):
    """How many traces have a figure from `low` to `high`, both included."""

    low: int
    high: int
    count: int


class Distribution(BaseModel):
    """How a figure is spread over traces, in bins of one width."""

    min: int
    mean: float
    max: int
    bins: list[Bin]


class Statistics(BaseModel):
    """How the traces of a version or split are spread."""

    trace_count: int
    steps: Distribution | None
    characters: Distribution | None = Field(description="of prompt, steps and answer together")
    answer: Distribution | None = Field(description="characters of the final answer")
    sources: list[SourceCount] = Field(description="the 20 most frequent")


class Preview(BaseModel):
    """What a build would hold."""

    matching: int = Field(description="traces that pass the filters, whatever the limit")
    trace_count: int
    splits: dict[str, int] = Field(description="an empty one could not be sealed")
    steps: Distribution | None
    characters: Distribution | None
    sample: list[TraceRow] = Field(description="the first 20 of the selection")


class Moved(BaseModel):
    """A trace that both versions hold, in different splits."""

    id: str
    base: str
    other: str


class Diff(BaseModel):
    """How two data sets differ; lists name the first 100, counts are whole."""

    base: str
    other: str
    same_content: bool
    added_count: int
    removed_count: int
    moved_count: int
    common_count: int
    added: list[str]
    removed: list[str]
    moved: list[Moved]
    stats: dict[str, dict[str, Span]]


class AuditRequest(Body):
    """Which tokens to account for; `tokenizer` is the name of a folder under TUNIX_RT_HOME/models, never a path."""

    tokenizer: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    template: Literal["reasoning", "answer"] = "reasoning"
    max_length: Annotated[int, Field(ge=8, le=1_048_576)] | None = None
    overlong: Literal["raise", "truncate", "drop"] = "raise"
    split: str | None = None


class TokenRow(BaseModel):
    """A trace as a row of tokens: `truncated` ones first, then what is only read, then from `start` up to `stop` what
    is supervised, then what is only read again. A row that is not trained has a reason instead of tokens."""

    position: int = Field(description="place in the data set, from 0")
    trace: str
    split: str
    token_count: int
    ids: list[int]
    pieces: list[str] = Field(description="how each token reads")
    truncated: int
    start: int
    stop: int
    reason: str | None
    detail: str | None


class TokenRows(BaseModel):
    """Some rows of a data set."""

    data: list[TokenRow]
    next_after: int | None = Field(description="`after` of the next rows; null: there are none")
