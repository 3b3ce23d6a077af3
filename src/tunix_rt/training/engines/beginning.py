"""What a training begins with, the same numbers in every engine: dimensions, config.json and tensors of a job."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tunix_rt.base.errors import BadInput
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Job, architecture, lora, model_folder
from tunix_rt.training.engines.architecture import Dimensions


@dataclass(frozen=True)
class Beginning:
    """A job's model before its first step.

    Attributes:
        dimensions: of the model.
        content: what its config.json says.
        tensors: by their names in a model's folder, and an adapter's by theirs.
    """

    dimensions: Dimensions
    content: dict[str, Any]
    tensors: Mapping[str, NDArray[Any]]


def beginning(job: Job) -> Beginning:
    """Read or make a job's model.

    Raises:
        BadInput: a base that cannot be read or does not fit the data, or an adapter of nothing.
    """
    config = job.config
    if job.base is None:
        if config.method == "lora":
            raise BadInput(
                "A model from scratch has nothing that an adapter could build on.",
                hint="Set model_id to a model folder, or method: full.",
            )
        dimensions = architecture.from_scratch(config.model, job.vocabulary, job.batches.width)
        return Beginning(dimensions, architecture.to_json(dimensions), model_folder.start(dimensions, config.seed))
    content = architecture.read_json(job.base)
    dimensions = architecture.from_json(content, job.base)
    _check_base(job, job.base, dimensions)
    tensors = model_folder.read_tensors(job.base, dimensions)
    if config.method == "lora":
        tensors = {**tensors, **lora.start(dimensions, config.lora, config.seed)}
    return Beginning(dimensions, content, tensors)


def parameters(config: TrainingConfig, vocabulary: int, base: Path | None) -> int:
    """Count the model's parameters without allocating them; see `Engine.parameters`."""
    if base is None:
        dimensions = architecture.from_scratch(config.model, vocabulary, 1)
    else:
        dimensions = architecture.from_json(architecture.read_json(base), base)
    return sum(math.prod(shape) for shape in model_folder.tensor_shapes(dimensions).values())


def _check_base(job: Job, base: Path, d: Dimensions) -> None:
    if job.vocabulary > d.vocabulary:
        raise BadInput(
            f"The tokenizer has {job.vocabulary} entries, but {base} embeds only {d.vocabulary}.",
            hint="Take the tokenizer that belongs to the model (tokenizer.kind: model).",
        )
    if job.batches.width > d.max_positions:
        raise BadInput(
            f"Rows of {job.batches.width} tokens do not fit the {d.max_positions} positions of {base}.",
            hint=f"Set data.max_length to at most {d.max_positions}.",
        )
