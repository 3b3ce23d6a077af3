"""What an engine is: who computes a training and its generations. Engines are loaded by name, never imported.

`training` prepares everything that decides the result (tokens, masks, order, schedule) the same way for every
engine; an engine turns batches into weights, and prompts into tokens. Axes: B rows, T tokens of a row.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base.errors import MissingExtra
from tunix_rt.training.config import TrainingConfig


@dataclass(frozen=True)
class Batch:
    """One micro-batch, padded on the right.

    Attributes:
        tokens: int32 (B, T).
        supervised: bool (B, T); True where the token is a target of the loss.
        lengths: int32 (B,): tokens of a row before its padding; 0 for a row that is all padding.
        weight: what the summed loss of this micro-batch is divided by, so that the mean over an optimizer step's
            micro-batches is the mean over all its supervised tokens: its supervised tokens / accumulation.
    """

    tokens: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    lengths: NDArray[np.int32]
    weight: float


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


@dataclass(frozen=True)
class Outcome:
    """How a training ended: `completed`, or `stopped` with its state in the last checkpoint, at `step`."""

    reason: str
    step: int


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

    def train(self, job: Job) -> Outcome:
        """Train from `job.resume_from` or the start to `job.total_steps`, and write `model/`."""
        ...

    def generate(
        self, model: Path, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]
    ) -> list[Generated]:
        """Answer prompts (token ids), in order; `done(n)` is told how many are finished."""
        ...


def load(name: str) -> Engine:
    """Load an engine by name.

    Raises:
        MissingExtra: its libraries are not installed.
    """
    try:
        module: Any = importlib.import_module(f"tunix_rt.training.engines.{name}")
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"The engine {name!r} needs {missing.name!r}, which is not installed.",
            hint=f"Install it: pip install 'tunix-rt[{name}]'",
        ) from None
    engine: Engine = module
    return engine
