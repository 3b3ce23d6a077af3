"""What a training would do, told before it starts: steps, tokens, the memory whose size is known, the disk.

Axes: B rows of a micro-batch, T tokens of a row, V entries of the vocabulary.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import DiskFull
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.ledger import Ledger

PARAMETER_BYTES = 4  # parameters, gradients and optimizer stay float32 whatever the computation is in


@dataclass(frozen=True)
class Plan:
    """A training in figures.

    Attributes:
        steps: optimizer steps.
        epochs: passes over the training rows.
        rows: training rows.
        evaluation_rows: rows of the evaluation loss.
        width: T.
        vocabulary: V.
        parameters: how many are trained.
        tokens_per_step: tokens of a step, padding included.
        memory_bytes: what is held throughout (parameters, gradients, optimizer) and at most the logits of one
            micro-batch with the two copies that their loss makes; activations come on top.
        disk_bytes: the checkpoints that are kept, one being written, and the result.
        device: where it runs.
    """

    steps: int
    epochs: float
    rows: int
    evaluation_rows: int
    width: int
    vocabulary: int
    parameters: int
    tokens_per_step: int
    memory_bytes: dict[str, int]
    disk_bytes: int
    device: str

    def document(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        return asdict(self)


def plan(
    config: TrainingConfig, train: Ledger, evaluation_rows: int, vocabulary: int, parameters: int, device: str
) -> Plan:
    """Work the figures out; nothing is allocated."""
    rows = len(train.lengths)
    steps = config.total_steps(rows)
    micro_tokens = config.batch_size * train.width
    weights = parameters * PARAMETER_BYTES
    return Plan(
        steps=steps,
        epochs=round(steps * config.batch_size * config.accumulation / rows, 3),
        rows=rows,
        evaluation_rows=evaluation_rows,
        width=train.width,
        vocabulary=vocabulary,
        parameters=parameters,
        tokens_per_step=micro_tokens * config.accumulation,
        memory_bytes={
            "parameters": weights,
            "gradients": weights * (2 if config.accumulation > 1 else 1),
            "optimizer": 2 * weights,
            "logits": 3 * micro_tokens * vocabulary * 4,
        },
        disk_bytes=3 * weights * (config.keep_checkpoints + 1) + weights,
        device=device,
    )


def check_disk(plan: Plan, folder: Path) -> None:
    """Refuse a training whose checkpoints cannot fit, before it starts.

    Raises:
        DiskFull: less is free than the checkpoints and the result will take.
    """
    free = shutil.disk_usage(folder).free
    if free < plan.disk_bytes:
        raise DiskFull(
            f"The checkpoints and the model need {plan.disk_bytes:,} bytes; {free:,} are free at {folder}.",
            hint="Free space, write elsewhere with --output, or keep fewer: --set keep_checkpoints=1.",
        )
