"""What an engine is: who computes a training and its generations. Engines are loaded by name, never imported.

`training` prepares everything that decides the result (tokens, masks, order, schedule) the same way for every
engine; an engine turns batches into weights, and prompts into tokens. Axes: B rows, T tokens of a row.
"""

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base import extras
from tunix_rt.base.errors import BadInput, MissingExtra, nearest
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines.memory import Memory, Shape

ENGINES = ("tunix", "torch")
"""Every engine that a config may name; each is an extra of that name."""
_DISTRIBUTIONS = {"tunix": "google-tunix", "torch": "torch"}


@dataclass(frozen=True)
class Batch:
    """One micro-batch, padded on the right.

    Attributes:
        tokens: int32 (B, T).
        supervised: bool (B, T); True where the token is a target of the loss.
        lengths: int32 (B,): tokens of a row before its padding; 0 for a row that is all padding.
        weight: what the summed loss of this micro-batch is divided by, so that the mean over an optimizer step's
            micro-batches is the mean over all its supervised tokens: its supervised tokens / accumulation.
        segments: int32 (B, T), where rows are packed: 1, 2, ... for the traces of a row, 0 on padding; a token sees its
            own segment alone. None: each row holds one trace.
        positions: int32 (B, T), where rows are packed: place within the segment, from 0. None: 0..T-1.
        ids: of the traces in it, row by row, so that a fault can name them.
    """

    tokens: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    lengths: NDArray[np.int32]
    weight: float
    segments: NDArray[np.int32] | None = None
    positions: NDArray[np.int32] | None = None
    ids: tuple[str, ...] = ()


class Batches(Protocol):
    """The data of a training: every batch is a pure function of its index, so resuming seeks."""

    width: int
    batch_size: int

    def training(self, step: int, micro: int) -> Batch:
        """Micro-batch `micro` (from 0) of optimizer step `step` (from 1)."""
        ...

    def epoch(self, step: int) -> float:
        """Passes over the training split after `step` steps."""
        ...

    @property
    def evaluation(self) -> Sequence[Batch]:
        """The evaluation split, in order; the last batch filled up with empty rows."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        max_new_tokens: longest answer in tokens.
        temperature: 0 takes the likeliest token (greedy).
        seed: of the random draws.
        stop: ids that end an answer; the stop token itself is not part of it.
    """

    max_new_tokens: int
    temperature: float
    seed: int
    stop: tuple[int, ...]


@dataclass(frozen=True)
class Generated:
    """One answer: its token ids without the stop token, and why it ended: `stop` or `length`."""

    tokens: list[int]
    finish_reason: str


@dataclass(frozen=True)
class Samples:
    """Prompts that are answered at each evaluation, by the parameters of that moment.

    Attributes:
        prompts: as they are asked.
        tokens: what the model is given for each.
        sampling: how they are answered.
        decode: the text of an answer's token ids.
    """

    prompts: tuple[str, ...]
    tokens: list[list[int]]
    sampling: Sampling
    decode: Callable[[list[int]], str]


@dataclass(frozen=True)
class Job:
    """A training as an engine gets it.

    Attributes:
        folder: the run directory.
        config: the resolved config.
        batches: the data.
        vocabulary: entries of the tokenizer.
        total_steps: optimizer steps in all.
        base: Hugging Face folder to start from; None: from scratch by `config.model` and `config.seed`.
        tokenizer: folder with tokenizer.json and tokenizer_config.json, copied into the result.
        special: ids of `pad`, `bos`, `eos` where the tokenizer has them, for the result's config.json.
        resume_from: checkpoint folder to go on from; None: from the start.
        fingerprint: what must be equal for a checkpoint to be resumed; stored in each checkpoint.
        emit: appends an event to events.jsonl.
        stopping: True once the user or the system wants the training to stop; asked between steps.
        saving: True, once, after the user has asked for a checkpoint now; asked between steps.
        start: checkpoint folder of another training (`train --fork`) whose parameters are the start, instead of the
            base's or those by the seed; None for most.
        samples: prompts to answer at each evaluation; None: none.
    """

    folder: Path
    config: TrainingConfig
    batches: Batches
    vocabulary: int
    total_steps: int
    base: Path | None
    tokenizer: Path
    special: dict[str, int]
    resume_from: Path | None
    fingerprint: dict[str, Any]
    emit: Callable[..., None]
    stopping: Callable[[], bool]
    saving: Callable[[], bool] = lambda: False
    start: Path | None = None
    samples: Samples | None = None


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        reason: `completed`, or `stopped` with its state in the last checkpoint.
        step: finished steps.
        early: completed by early_stopping_evals.
        best_step: the step whose parameters model/ holds, where keep_best chose it.
    """

    reason: str
    step: int
    early: bool = False
    best_step: int | None = None


class Engine(Protocol):
    """A module under `training/engines`."""

    def devices(self, wanted: str) -> list[str]:
        """Compute on devices of a kind (`auto`, `cpu`, `gpu`, `tpu`) from here on; list them as `platform:index kind`.

        Raises:
            BadInput: none of that kind; says what is there and how to get one.
        """
        ...

    def parameters(self, config: TrainingConfig, vocabulary: int, base: Path | None) -> int:
        """Count the parameters without allocating them."""
        ...

    def memory(
        self,
        config: TrainingConfig,
        shape: Shape,
        vocabulary: int,
        base: Path | None,
        exactly: Callable[[Memory], bool],
    ) -> Memory:
        """Predict a step's peak memory before anything is allocated.

        Args:
            config: the run's.
            shape: of the largest micro-batch.
            vocabulary: entries of the tokenizer.
            base: Hugging Face folder to start from; None: from scratch.
            exactly: whether a figure by formula is to be followed by a better one, which takes seconds.

        Raises:
            BadInput: a base that does not read.
        """
        ...

    def speed(self, config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> float:
        """Measure, in a quarter second, how many operations of a product as the model has them the devices do a second.

        All devices together; arguments as in `memory`.
        """
        ...

    def train(self, job: Job) -> Outcome:
        """Train from `job.resume_from` or the start to `job.total_steps`, and write `model/`."""
        ...

    def generate(
        self, model: Path, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]
    ) -> list[Generated]:
        """Answer prompts (token ids), in order; `done(n)` is told how many are finished."""
        ...


@dataclass(frozen=True)
class Capability:
    """Whether an engine can be loaded here, as far as that is known without loading it.

    Attributes:
        available: its libraries are installed.
        version: of its library; None where that is not installed.
        reason: why it is not available; None where it is.
        hint: what mends that; None where it is available.
    """

    available: bool
    version: str | None
    reason: str | None = None
    hint: str | None = None


def capabilities() -> dict[str, Capability]:
    """What each known engine needs and whether that is installed; imports none of it."""
    return {name: _capability(name) for name in ENGINES}


def require(name: str) -> None:
    """Refuse to go on without an engine; imports nothing.

    Raises:
        BadInput: there is no engine of that name.
        MissingExtra: its libraries are not installed.
    """
    if name not in ENGINES:
        raise BadInput(f"There is no engine {name!r}.{nearest(name, ENGINES)}")
    extras.require(name, f"The engine {name!r}")


def pick(name: str | None) -> str:
    """Choose the engine that answers prompts: the one named, or the first that is installed.

    Raises:
        BadInput, MissingExtra: as `require`; where none is named or installed, for the default engine.
    """
    chosen = name or next((each for each in ENGINES if not extras.missing(each)), ENGINES[0])
    require(chosen)
    return chosen


def load(name: str) -> Engine:
    """Load an engine by name.

    Raises:
        BadInput: there is no engine of that name.
        MissingExtra: its libraries are not installed or do not load.
    """
    require(name)
    try:
        module: Any = importlib.import_module(f"tunix_rt.training.engines.{name}")
    except ImportError as error:
        raise MissingExtra(
            f"The engine {name!r} does not load: {error}.", hint=f"Install it again: pip install 'tunix-rt[{name}]'"
        ) from error
    engine: Engine = module
    return engine


def _capability(name: str) -> Capability:
    try:
        version = importlib.metadata.version(_DISTRIBUTIONS[name])
    except importlib.metadata.PackageNotFoundError:
        version = None
    try:
        require(name)
    except MissingExtra as error:
        return Capability(False, version, error.detail, error.hint)
    return Capability(True, version)
