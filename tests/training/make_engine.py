"""Builders of what an engine trains; as a script, a training that can be killed.

    python -m tests.training.make_engine FOLDER [ENGINE]

trains in FOLDER from its newest checkpoint and prints each event as a line of JSON.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch, Job, Outcome, load

VOCABULARY = 32
WIDTH = 24
ROWS = 4


class CountingRows:
    """Rows that count upwards in steps of 1, 2 or 3, padded; supervised from the second third on."""

    def __init__(
        self, accumulation: int = 1, evaluation: int = 2, batch_size: int = ROWS, seed: int = 0, width: int = WIDTH
    ) -> None:
        self.width, self.batch_size, self.accumulation, self.seed = width, batch_size, accumulation, seed
        self.asked: list[tuple[int, int]] = []
        self._evaluation = evaluation

    def _rows(self, *key: int) -> tuple[Any, Any, Any]:
        random = np.random.default_rng([self.seed, *key])
        lengths = random.integers(self.width // 2, self.width + 1, self.batch_size).astype(np.int32)
        first, stride = random.integers(0, VOCABULARY, (2, self.batch_size, 1))
        place = np.arange(self.width)[None]
        padding = place >= lengths[:, None]
        tokens = np.where(padding, 0, (first + place * (1 + stride % 3)) % VOCABULARY).astype(np.int32)
        return tokens, (place >= lengths[:, None] // 3) & ~padding, lengths

    def training(self, step: int, micro: int) -> Batch:
        self.asked.append((step, micro))
        parts = [self._rows(step, number) for number in range(self.accumulation)]
        weight = sum(int(supervised.sum()) for _, supervised, _ in parts) / self.accumulation
        return Batch(*parts[micro], weight)

    def epoch(self, step: int) -> float:
        return step / 10

    @property
    def evaluation(self) -> list[Batch]:
        return [Batch(*self._rows(10**6, number), 1.0) for number in range(self._evaluation)]


@dataclass
class Events:
    """Where a test's events go."""

    all: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, **fields: Any) -> None:
        self.all.append((event, fields))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.all if event == kind]

    def losses(self) -> dict[int, float]:
        return {step["step"]: step["loss"] for step in self.of("step")}


def config(**changes: Any) -> TrainingConfig:
    """A model of 3,000 parameters that learns to count."""
    small = {"layers": 1, "width": 16, "hidden": 32, "heads": 4, "kv_heads": 2}
    values: dict[str, Any] = {
        "model": small | changes.pop("model", {}),
        "steps": 10,
        "warmup_steps": 3,
        "learning_rate": 0.02,
        "eval_every_steps": 4,
        "checkpoint_every_steps": 4,
        "batch_size": ROWS,
    }
    return TrainingConfig.model_validate(values | changes)


def job(folder: Path, **changes: Any) -> Job:
    """A training in `folder`."""
    chosen: TrainingConfig = changes.pop("config", None) or config()
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    (tokenizer / "tokenizer.json").write_text('{"model": {}}')
    (tokenizer / "tokenizer_config.json").write_text("{}")
    values: dict[str, Any] = {
        "folder": folder,
        "config": chosen,
        "batches": CountingRows(accumulation=chosen.accumulation),
        "vocabulary": VOCABULARY,
        "total_steps": 10 if chosen.steps is None else chosen.steps,
        "base": None,
        "tokenizer": tokenizer,
        "special": {"pad": 0, "eos": 1},
        "resume_from": None,
        "fingerprint": {"seed": chosen.seed, "data": {"train": "sha256:1"}},
        "emit": Events(),
        "stopping": lambda: False,
    }
    return Job(**(values | changes))


def train(folder: Path, **changes: Any) -> tuple[Outcome, Events]:
    """Train in `folder`; give the outcome and the events."""
    events = Events()
    return load("tunix").train(job(folder, emit=events, **changes)), events


def stop_after(steps: int) -> Callable[[], bool]:
    """Wish to stop as soon as `steps` steps have been fed."""
    asked = iter(range(steps + 1))  # asked once before the model is made, then before each step
    return lambda: next(asked, None) is None


def main(folder: Path, engine: str = "tunix") -> None:
    def emit(event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), flush=True)

    newest = sorted((folder / "checkpoints").glob("step-*"))
    load(engine).train(job(folder, emit=emit, resume_from=newest[-1] if newest else None))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
