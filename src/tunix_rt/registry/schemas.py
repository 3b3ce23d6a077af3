"""Shapes of the registry: what is asked of it, and what it answers."""

import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from tunix_rt.base.http import Body, Time
from tunix_rt.evaluation.schemas import Interval

Kind = Literal["model", "adapter"]
_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
FamilyName = Annotated[
    StrictStr, Field(max_length=99, pattern=_PATTERN, description="lower case letters, digits, . _ -")
]
Label = Annotated[StrictStr, Field(max_length=64, pattern=_PATTERN, description="lower case letters, digits, . _ -")]
Actor = Annotated[StrictStr, Field(min_length=1, max_length=200, description="who says so; default: api")]
Reason = Annotated[StrictStr, Field(max_length=2_000)]


class FamilyRequest(Body):
    """A name under which models follow one another; `description` left out: none, or the one that it has."""

    name: FamilyName
    description: Annotated[StrictStr, Field(max_length=2_000)] | None = None


class PromoteRequest(Body):
    """Which run's model becomes a version.

    Attributes:
        run_id: a completed training; its id or 6 or more of its first digits.
        version: what it is called; left out: the next of 1, 2, 3, …, or what its content is called already.
        alias: is set to it.
    """

    run_id: Annotated[StrictStr, Field(min_length=6, max_length=36)]
    version: Label | None = None
    alias: Label | None = None
    actor: Actor | None = None
    reason: Reason | None = None


class AliasRequest(Body):
    """Where an alias shall point."""

    version: Label
    actor: Actor | None = None
    reason: Reason | None = None


class ModelFile(BaseModel):
    """A file of a version; `path` is relative to the model's folder, `sha256` in hexadecimal digits."""

    path: str
    size: int
    sha256: str


class Provenance(BaseModel):
    """Where a version comes from."""

    model_config = ConfigDict(protected_namespaces=())

    run_id: uuid.UUID
    dataset_key: str
    dataset_digest: str
    engine: str
    method: str
    config_digest: str = Field(description="of the run's whole config, as JSON with its keys in order")
    model_id: str = Field(description="what the training started from: scratch, a folder's name, or name:version")
    base_digest: str | None = Field(description="of the base model's weights and config; null: from scratch")
    base_version_digest: str | None = Field(
        description="of the version that it started from; null: it was none of ours"
    )
    template: str | None
    seed: int
    packages: dict[str, str]


class Figure(BaseModel):
    """An evaluation of the run as it was when it was promoted: the newest one of each board."""

    evaluation_id: uuid.UUID
    created_at: Time
    eval_set: str
    eval_set_digest: str
    judge: str
    judge_digest: str
    decoding_digest: str
    n_items: int
    n_scored: int
    score: float | None
    ci: Interval | None  # 95 %
    n_contaminated: int | None  # items that overlap with its training traces; null: nobody looked
    established: bool


class VersionView(BaseModel):
    """A version; it never changes, but for the aliases that point at it."""

    id: uuid.UUID
    name: str
    version: str
    digest: str
    created_at: Time
    actor: str
    kind: Kind
    size: int = Field(description="bytes of all files")
    n_files: int
    aliases: list[str]
    run_id: uuid.UUID
    provenance: Provenance
    evaluations: list[Figure]


class VersionDetail(VersionView):
    """A version with its files, and its card as it was promoted (Markdown of whoever trained it; the first 256 KiB)."""

    files: list[ModelFile]
    card: str | None


class AliasView(BaseModel):
    """Where an alias points, and since when."""

    alias: str
    version: str
    moved_at: Time
    actor: str
    reason: str | None


class Move(BaseModel):
    """An alias was set; `from` is null where it had not been there."""

    model_config = ConfigDict(populate_by_name=True)

    id: uuid.UUID
    alias: str
    created_at: Time
    before: str | None = Field(serialization_alias="from")
    after: str = Field(serialization_alias="to")
    actor: str
    reason: str | None


class FamilyView(BaseModel):
    """A family with its newest versions, the last one first: 5 in a list, 100 by its name; `versions` has all."""

    id: uuid.UUID
    name: str
    description: str
    created_at: Time
    version_count: int
    versions: list[VersionView]
    aliases: list[AliasView]


class FamilyDetail(FamilyView):
    """A family with the newest 100 moves of its aliases; a list of its own has all."""

    history: list[Move]


class Damage(BaseModel):
    """A stored file that is not what was promoted."""

    path: str
    sha256: str
    problem: str


class VerifiedVersion(BaseModel):
    """Every digest of a version, computed again."""

    name: str
    version: str
    digest: str
    ok: bool
    n_files: int
    size: int
    damaged: list[Damage]
