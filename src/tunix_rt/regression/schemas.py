"""Shapes of the regression gate."""

import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr

from tunix_rt.base.http import Body, Time
from tunix_rt.evaluation.schemas import Changed, Interval

Metric = Literal["score", "completion_tokens", "latency_s"]
Direction = Literal["higher", "lower"]
Decision = Literal["pass", "fail", "inconclusive"]

Name = Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Ref = Annotated[StrictStr, Field(min_length=6, max_length=36)]
Margin = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class BaselineRequest(Body):
    """A baseline to set: an evaluation, or the newest one of a run.

    Attributes:
        direction: which way is good; default: higher for the score, lower for tokens and seconds.
        margin: a loss up to this does not matter, in the metric's unit (a share for the score, tokens, seconds an
            item); default: 0.02 for the score, none for others.
    """

    name: Name
    evaluation_id: Ref | None = None
    run_id: Ref | None = None
    metric: Metric = "score"
    direction: Direction | None = None
    margin: Margin | None = None


class BaselineView(BaseModel):
    """A baseline."""

    id: uuid.UUID
    name: str
    created_at: Time
    evaluation_id: uuid.UUID
    evaluation: str
    run_id: uuid.UUID | None
    eval_set: str
    eval_set_digest: str
    judge: str
    metric: Metric
    direction: Direction
    margin: float


class CheckRequest(Body):
    """What is held against which baseline: an evaluation, or the newest one of a run on the baseline's board.

    Attributes:
        margin: instead of the baseline's.
        seed: of the bootstrap.
    """

    baseline: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    evaluation_id: Ref | None = None
    run_id: Ref | None = None
    margin: Margin | None = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0


class Checked(BaseModel):
    """An evaluation that was held against a baseline."""

    id: uuid.UUID
    name: str
    run_id: uuid.UUID | None
    n_items: int
    n_unscored: int
    n_missing: int
    n_contaminated: int | None  # items that overlap with its training traces; null: nobody knows these


class CheckView(BaseModel):
    """What the gate says, and the paired figures behind it.

    `difference` is the checked evaluation's mean less the baseline's, over the items that both have a value for.
    """

    verdict: Decision
    reason: str
    baseline: BaselineView
    evaluation: Checked
    base: Checked
    metric: Metric
    direction: Direction
    margin: float
    n: int
    base_mean: float | None
    other_mean: float | None
    difference: float | None
    ci: Interval | None  # paired bootstrap, 95 %
    p_value: float | None
    test: str
    fixed: int  # items that moved in the good direction
    broken: int
    unchanged: int
    n_left_out: int  # items that one of the two has no value for
    established: bool
    sufficient_n: int | None  # items that would have decided it 4 times in 5; null where it is decided, or none would
    notes: list[str]  # what to know before believing it
    items: list[Changed]  # of scores: the items that changed, the first 1,000
    items_left_out: int
