"""A decoder's arrays by their names in a Hugging Face or PEFT folder, in and out; a job's first model and its result.

A parameter's path in the decoder is its name in the folder but for the last part, and a kernel (in, out) lies
there as (out, in).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tunix_rt.training.engines import Job, lora, model_folder
from tunix_rt.training.engines.beginning import beginning
from tunix_rt.training.engines.jax_model import Decoder, decoder

_ADAPTERS = {"lora_a": "lora_A", "lora_b": "lora_B"}
_TURNED = ("kernel", *_ADAPTERS)


def first(job: Job, mesh: Any = None) -> tuple[Decoder, dict[str, Any]]:
    """A job's model before its first step, and what config.json says of it.

    Raises:
        BadInput: a base that cannot be read or does not fit the data, or an adapter of nothing.
    """
    begun = beginning(job)
    return fill(decoder(job.config, begun.dimensions, mesh), begun.tensors), begun.content


def write_result(job: Job, model: Decoder, content: Mapping[str, Any]) -> None:
    """Write `model/`: the whole model in the config's precision, or the adapter in float32."""
    tensors, folder = Tensors(model), job.folder / "model"
    if job.config.method == "lora" and job.base is not None:
        lora.write_adapter(folder, tensors, job.config.lora, job.base, job.special, job.tokenizer)
        return
    model_folder.write_folder(folder, tensors, content, job.special, job.tokenizer, model.compute)


def fill(model: Decoder, tensors: Mapping[str, NDArray[Any]]) -> Decoder:
    """Put tensors into an abstract model, spread over its mesh if there is one.

    What is trained is float32, what stays as it is has the computation's type.
    """
    definition, state = nnx.split(model)
    flat = dict(nnx.to_flat_state(state))
    for path, value in flat.items():
        kind = np.float32 if isinstance(value, model.trained) else np.dtype(model.compute)
        tensor = np.asarray(tensors[_name(path)]).astype(kind, copy=False)
        array = np.ascontiguousarray(tensor.T if path[-1] in _TURNED else tensor)
        flat[path] = value.replace(jax.device_put(array, place(value, array.shape, model.mesh)))
    filled: Decoder = nnx.merge(definition, nnx.from_flat_state(list(flat.items())))
    return filled


class Tensors(Mapping[str, NDArray[Any]]):
    """What is trained of a model by name, as it lies in a folder; fetched from its device when it is asked for."""

    def __init__(self, model: Decoder) -> None:
        parameters = nnx.to_flat_state(nnx.state(model, model.trained))
        self._values = {_name(path): (value, path[-1] in _TURNED) for path, value in parameters}

    def __getitem__(self, name: str) -> NDArray[Any]:
        value, turned = self._values[name]
        array = np.asarray(value.get_value())
        return array.T if turned else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def place(value: Any, shape: tuple[int, ...], mesh: Any) -> Any:
    """Where an array lies on the mesh: cut along those of the parameter's axes that divide it."""
    if mesh is None:
        return None
    axes = value.get_metadata().get("out_sharding") or ()
    cut = [
        axis if axis and mesh.shape[axis] > 1 and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(axes, shape, strict=False)
    ]
    while cut and cut[-1] is None:  # as XLA says it of a step's results: another spelling would compile the step again
        cut.pop()
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*cut))


def _name(path: tuple[Any, ...]) -> str:
    owner, last = ".".join(map(str, path[:-1])), str(path[-1])
    if last in _ADAPTERS:
        return f"base_model.model.model.{owner}.{_ADAPTERS[last]}.weight"
    leaf = "bias" if last == "bias" else "weight"
    return f"{owner}.{leaf}" if owner == "lm_head" else f"model.{owner}.{leaf}"
