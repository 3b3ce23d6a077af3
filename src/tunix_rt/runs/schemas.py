"""What crosses the boundary of the runs: requests, rows, details."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tunix_rt.base.http import Body, Time
from tunix_rt.runs.states import RunStatus

Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*([@:][A-Za-z0-9._-]+)?$")
]
Mode = Literal["dry-run", "local", "ray"]
Number = float | Literal["NaN", "Infinity", "-Infinity"]
"""A figure; JSON has no word for the three that are none, so they are texts."""


MOST_PRIORITY = 1000
"""Of a run, and minus the least."""


class RunRequest(Body):
    """What shall be trained.

    Attributes:
        dataset_key: the data set.
        model_id: `scratch`, a folder under TUNIX_RT_HOME/models, or `name@alias` or `name:version` of the registry,
            which is resolved now; never a path.
        engine: who computes; default: the config's.
        dry_run: only check that it could be trained.
        config: keys of the training config (`training.config`); what is left out has its default.
        eval_set: the eval set that the result is meant for.
        priority: higher ones are started first.
        max_attempts: how often the process may crash before the run has failed.
        timeout_seconds: longest time of running, all attempts together; none by default.
    """

    model_config = ConfigDict(protected_namespaces=())

    dataset_key: str = Field(min_length=1, max_length=200)
    model_id: Name = "scratch"
    engine: str | None = Field(None, max_length=64)
    dry_run: bool = True
    config: dict[str, Any] = Field(default_factory=dict)
    eval_set: str | None = Field(None, min_length=1, max_length=200)
    priority: int = Field(0, ge=-MOST_PRIORITY, le=MOST_PRIORITY)
    max_attempts: int = Field(3, ge=1, le=100)
    timeout_seconds: float | None = Field(None, gt=0, le=10**9, allow_inf_nan=False)


class RetryRequest(Body):
    """How a run is done again: from its last checkpoint, or from the start."""

    from_start: bool = False


class ExportRequest(Body):
    """Which data set shall be read as a trainer would."""

    dataset_key: str = Field(min_length=1, max_length=200)
    split: str | None = Field(None, max_length=64)
    format: str = Field("tunix_sft", max_length=64)


class Progress(BaseModel):
    """How far a training is; `eta_seconds` is null until a step was timed."""

    step: int
    total_steps: int
    eta_seconds: float | None


class Accepted(BaseModel):
    """A run that was written down: it will be done."""

    run_id: uuid.UUID
    status: RunStatus
    status_reason: str | None
    mode: Mode
    created_at: Time
    links: dict[str, str]


class RunRow(BaseModel):
    """A run in a list."""

    model_config = ConfigDict(protected_namespaces=())

    run_id: uuid.UUID
    dataset_key: str
    model_id: str
    engine: str
    mode: Mode
    status: RunStatus
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    duration_seconds: float | None
    score: float | None
    attempt: int
    progress: Progress | None
    metrics: dict[str, Number]


class Change(BaseModel):
    """A line of a run's history; `from` is null where it begins."""

    model_config = ConfigDict(populate_by_name=True)

    time: Time
    before: RunStatus | None = Field(serialization_alias="from")
    after: RunStatus = Field(serialization_alias="to")
    actor: str
    reason: str | None


class RunEvaluation(BaseModel):
    """Where the evaluation of a run is: the newest that was asked for.

    state: `none`: not asked for, or there is no model to evaluate; `planned`: it follows when the run completes;
        `waiting` for a worker, `running`, `failed`, `done`.
    eval_set: what is answered, by name; null where none is known.
    before: jobs that are claimed before it, where it waits.
    reason: why it failed, how its last attempt ended, or why no worker takes it.
    evaluation_id: the newest evaluation of the run.
    """

    state: Literal["none", "planned", "waiting", "running", "failed", "done"]
    eval_set: str | None = None
    before: int | None = None
    reason: str | None = None
    evaluation_id: uuid.UUID | None = None


class RunDetail(RunRow):
    """All of a run; `stdout` and `stderr` are their ends, cut at a line."""

    status_reason: str | None
    queued_at: Time
    wait_seconds: float | None
    max_attempts: int
    priority: int
    timeout_seconds: float | None
    exit_code: int | None
    crash_reason: str | None
    worker: str | None
    eval_set: str | None
    evaluation: RunEvaluation
    retry_of: uuid.UUID | None
    from_start: bool
    dataset_digest: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    result: dict[str, Any] | None
    events: list[Change]
    links: dict[str, str]
    stdout: str
    stderr: str


class RunState(BaseModel):
    """Where a run is, for those who only wait for it."""

    run_id: uuid.UUID
    mode: Mode
    status: RunStatus
    status_reason: str | None
    queued_at: Time
    started_at: Time | None
    completed_at: Time | None
    exit_code: int | None
    attempt: int
    progress: Progress | None


class Checked(Accepted):
    """A dry run that is done: the facts in `checks`, each with `ok`."""

    checks: dict[str, Any] | None


Points = list[tuple[int, Number]]
"""Values of a metric: [step, value], ascending."""


class Smoothed(BaseModel):
    """Exponential moving averages of metrics, computed from every step, given at the steps of the measured points.

    `amount` is the weight of a value one step ago relative to the present one. Later steps change no average.
    """

    amount: float
    series: dict[str, Points]


class Series(BaseModel):
    """Metrics of a run: for each key its measured points, thinned where there were more than asked for.

    `smoothed` is there where `smooth` was asked for.
    """

    series: dict[str, Points]
    smoothed: Smoothed | None = None


class SampleView(BaseModel):
    """What a training answered to a prompt of its evaluation split after a step.

    `finish_reason` is `stop`, or `length` where the answer was cut off; null where the engine does not say.
    """

    step: int
    prompt: str
    output: str
    finish_reason: str | None
    created_at: Time | None


class Artifact(BaseModel):
    """A file that a run left; `path` is relative to the run's folder."""

    path: str
    size: int
    sha256: str
    kind: Literal["checkpoint", "model", "predictions", "log", "config", "other"]


class CheckpointView(BaseModel):
    """A checkpoint, with the figures of its step."""

    step: int
    path: str
    size: int
    created_at: Time
    metrics: dict[str, Number]


class Offer(BaseModel):
    """An engine that a worker has; `devices` fill up some seconds after its start."""

    version: str | None
    devices: list[str]


class WorkerView(BaseModel):
    """A worker; `alive` while it is heard of. `unavailable` says of the other engines why it does not have them."""

    name: str
    host: str
    pid: int
    engines: dict[str, Offer]
    unavailable: dict[str, str]
    current_run: uuid.UUID | None
    alive: bool
    draining: bool
    started_at: Time
    last_heartbeat: Time


class EngineStatus(BaseModel):
    """An engine: whether a living worker has it (this machine, where no worker runs), and why not.

    `workers` are those that have it; without one, runs of this engine wait, and `reason` says so. `abilities` are what
    it can do of `method`, `batching`, families of models and kinds of devices, whether it is here or not.
    """

    available: bool
    version: str | None
    devices: list[str]
    workers: list[str]
    reason: str | None
    abilities: dict[str, list[str]]


class Status(BaseModel):
    """What there is to train with."""

    engines: dict[str, EngineStatus]
    workers: int


def links(run_id: uuid.UUID, retry_of: uuid.UUID | None = None, dataset_key: str | None = None) -> dict[str, str]:
    """Where a run's parts are."""
    base = f"/api/tunix/runs/{run_id}"
    found = {"self": base} | {
        name: f"{base}/{name}"
        for name in (
            *("status", "logs", "metrics", "samples", "artifacts", "checkpoints"),
            *("checkpoint", "cancel", "retry"),
        )
    }
    if dataset_key is not None:
        found["dataset"] = f"/api/datasets/{dataset_key}"
    if retry_of is not None:
        found["retry_of"] = f"/api/tunix/runs/{retry_of}"
    return found


Times = datetime | None


class TokenizerView(BaseModel):
    """A tokenizer that the server has: of a model folder by its name, or of a run."""

    tokenizer: str | None = None
    run: uuid.UUID | None = None
    dataset_key: str | None = None
    created_at: Time | None = None


class Tokenizers(BaseModel):
    """All of them: model folders first, then those of the newest runs."""

    data: list[TokenizerView]
