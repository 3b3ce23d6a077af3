"""What a training would do, told before it starts: steps, tokens, the memory whose size is known, the disk.

Axes: B rows of a micro-batch, T tokens of a row, V entries of the vocabulary.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import DiskFull
from tunix_rt.training import mends, packing
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import work
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Memory, Shape
from tunix_rt.training.ledger import Ledger
from tunix_rt.training.packing import Bucket

PARAMETER_BYTES = 4  # parameters, gradients and optimizer stay float32 whatever the computation is in
# A refusal is told within 10 s: so long after planning began are changes planned as well as the engine can, then by
# formula.
_EXACT_SECONDS = 2.0

Predictor = Callable[[TrainingConfig, Callable[[Memory], bool]], Memory]


@dataclass(frozen=True)
class Plan:
    """A training in figures.

    Attributes:
        steps: optimizer steps.
        epochs: passes over the training rows.
        rows: training rows.
        evaluation_rows: rows of the evaluation loss.
        width: T of the widest micro-batch.
        vocabulary: V.
        parameters: how many are trained.
        tokens_per_step: tokens of a mean step, padding included.
        tokens: of all steps, padding included.
        memory_bytes: a step's memory at its peak by term (`engines.memory.Memory`), for the largest micro-batch.
        peak_bytes: their sum.
        available_bytes: what the device has free; None: unknown.
        memory_method: how the peak was found: by the compiler, with fake tensors, or by formula.
        seconds: of all steps and evaluations, estimated (`estimated_seconds`); None: no speed was measured.
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
    tokens: int
    memory_bytes: dict[str, int]
    peak_bytes: int
    available_bytes: int | None
    memory_method: str
    seconds: float | None
    disk_bytes: int
    device: str

    def document(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        return asdict(self)


def worst_batch(config: TrainingConfig, width: int) -> Shape:
    """The largest micro-batch of rows of up to `width` tokens."""
    rows = max(1, config.batch_tokens // width) if config.batch_tokens else config.batch_size
    return Shape(rows, width, packed=config.batching == "packed")


def plan(
    config: TrainingConfig,
    train: Ledger,
    evaluation_rows: int,
    vocabulary: int,
    parameters: int,
    device: str,
    memory: Memory,
    seconds: Callable[[int], float] | None = None,
) -> Plan:
    """Work the figures out; nothing is allocated. `seconds` says how long so many steps take."""
    rows = len(train.lengths)
    buckets = packing.buckets(train.lengths, config)
    micro_batches = sum(bucket.batches for bucket in buckets)
    steps = config.total_steps(micro_batches)
    # Of a mean micro-batch: how many of each width come depends on the rows.
    micro_tokens = round(sum(bucket.batches * bucket.rows * bucket.width for bucket in buckets) / micro_batches)
    weights = parameters * PARAMETER_BYTES
    return Plan(
        steps=steps,
        epochs=round(steps * config.accumulation / micro_batches, 3),
        rows=rows,
        evaluation_rows=evaluation_rows,
        width=buckets[0].width,
        vocabulary=vocabulary,
        parameters=parameters,
        tokens_per_step=micro_tokens * config.accumulation,
        tokens=micro_tokens * config.accumulation * steps,
        memory_bytes=memory.terms,
        peak_bytes=memory.peak,
        available_bytes=memory.available,
        memory_method=memory.method,
        seconds=float(f"{seconds(steps):.3g}") if seconds else None,
        disk_bytes=3 * weights * (config.keep_checkpoints + config.keep_best + 1) + weights,
        device=device,
    )


def estimated_seconds(
    config: TrainingConfig, groups: Sequence[Sequence[Bucket]], d: Dimensions, speed: float, steps: int
) -> float:
    """How long the steps and evaluations take: their operations over what the device does of them in a second.

    An estimate: starting, compiling and writing checkpoints are left out, what a step does besides products is in one
    share for all (`work.EFFICIENCY`), and samples count as a batch, which is computed sooner. Measured on CPUs alone;
    benchmarks/log.md says how far off it was.

    Args:
        config: the training's.
        groups: the buckets of the training rows, and of the evaluation rows with the samples.
        d: of the model.
        speed: operations a second of a product, as `Engine.speed` measured it.
        steps: optimizer steps.
    """

    def operations(buckets: Sequence[Bucket]) -> int:
        packed = config.batching == "packed"
        return sum(each.batches * work.operations(config, d, Shape(each.rows, each.width, packed)) for each in buckets)

    train, evaluation = groups
    mean = operations(train) / sum(bucket.batches for bucket in train)
    evaluations = steps // config.eval_every_steps * operations(evaluation) / 3  # forward alone
    return (steps * config.accumulation * mean + evaluations) / (speed * work.EFFICIENCY)


def check_memory(config: TrainingConfig, plan: Plan, predict: Predictor, began: float) -> None:
    """Refuse a training that does not fit its device, before anything is allocated.

    Args:
        config: the training's.
        plan: of it.
        predict: plans a changed config again.
        began: when planning did, by `time.monotonic`.

    Raises:
        DoesNotFit: more is needed than is free; names the largest terms and what helps, each planned again.
    """
    memory = Memory(method=plan.memory_method, **plan.memory_bytes, available=plan.available_bytes)
    if memory.fits:
        return
    until = began + _EXACT_SECONDS
    rough = predict(config, lambda _: False)

    def again(changed: TrainingConfig) -> Memory:
        found = predict(changed, lambda new: time.monotonic() < until and not new.hopeless and not new.ample)
        return _as_exact(found, memory, rough) if found.method == rough.method else found

    on_gpu = not plan.device.startswith("cpu")
    mends.refuse(config, memory, plan.width, config.model_id != "scratch", on_gpu, again)


def _as_exact(found: Memory, exact: Memory, rough: Memory) -> Memory:
    """A figure by formula, less by as much as the formula says too much of the config that was looked at closely."""
    share = (exact.activations + exact.logits) / max(1, rough.activations + rough.logits)
    return replace(found, activations=round(found.activations * share), logits=round(found.logits * share))


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
