"""Hugging Face model folders: config.json to dimensions and back, tensors in and out, nothing guessed.

A parameter's path in the decoder is its name in the folder but for the last part, and a kernel (in, out) lies
there as (out, in).
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training.engines import tensor_files
from tunix_rt.training.engines.jax_model import Decoder
from tunix_rt.training.engines.whole_folder import forced, whole_folder

_INDEX = "model.safetensors.index.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
_MOST_FAULTS = 20


def tensor_shapes(model: Decoder) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's tensors by name, as they lie in a folder."""
    return {_name(path): _turned(path, value.shape) for path, value in _parameters(model)}


def start(model: Decoder, seed: int) -> dict[str, NDArray[Any]]:
    """Untrained tensors, each a function of seed and name alone.

    Norms 1, biases 0, kernels and embeddings from N(0, 1 / (3 inputs)), where an embedding's inputs are its width: the
    variance of PyTorch's own linear layers, and of the usual 0.02 at a width of 833. A constant 0.02 is far too small
    for a narrow model: at a width of 64 it halved what was learnt in 1,000 steps.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, shape in tensor_shapes(model).items():
        if len(shape) == 1:
            tensors[name] = np.full(shape, 0.0 if name.endswith(".bias") else 1.0, np.float32)
            continue
        random = np.random.default_rng([seed, *name.encode()])
        tensors[name] = random.standard_normal(shape, np.float32) * np.float32((3 * shape[1]) ** -0.5)
    return tensors


def fill(model: Decoder, tensors: Mapping[str, NDArray[Any]], mesh: Any = None) -> Decoder:
    """Put tensors into an abstract model, as float32, spread over the mesh if there is one."""
    definition, state = nnx.split(model)
    flat = dict(nnx.to_flat_state(state))
    for path, value in flat.items():
        tensor = np.asarray(tensors[_name(path)], np.float32)
        array = np.ascontiguousarray(tensor.T if path[-1] == "kernel" else tensor)
        flat[path] = value.replace(jax.device_put(array, _place(value, array.shape, mesh)))
    filled: Decoder = nnx.merge(definition, nnx.from_flat_state(list(flat.items())))
    return filled


def _place(value: Any, shape: tuple[int, ...], mesh: Any) -> Any:
    """Where an array lies on the mesh: cut along the parameter's axes, or whole everywhere if they do not divide."""
    if mesh is None:
        return None
    axes = value.get_metadata().get("out_sharding") or ()
    divides = all(axis is None or size % mesh.shape[axis] == 0 for axis, size in zip(axes, shape, strict=False))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*(axes if divides else ())))


def read_tensors(folder: Path, model: Decoder) -> dict[str, NDArray[Any]]:
    """Read a folder's weights for a model.

    Raises:
        BadInput: no weights, a damaged file, tensors that are missing, unexpected or of another shape.
    """
    found: dict[str, NDArray[Any]] = {}
    for file in _weight_files(folder):
        found.update(tensor_files.read(file))
    # Old Llama folders carry a table that everybody computes.
    found = {name: array for name, array in found.items() if not name.endswith("rotary_emb.inv_freq")}
    expected = tensor_shapes(model)
    head, table = found.get("lm_head.weight"), found.get("model.embed_tokens.weight")
    if model.dimensions.tied and head is not None and table is not None and np.array_equal(head, table):
        del found["lm_head.weight"]
    faults = [Fault(name, f"missing; expected shape {shape}") for name, shape in expected.items() if name not in found]
    faults += [Fault(name, "unexpected; config.json has no place for it") for name in found if name not in expected]
    faults += [
        Fault(name, f"shape {found[name].shape}; config.json says {shape}")
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    if faults:
        raise BadInput(
            f"The weights in {folder} do not fit its config.json: {len(faults)} of {len(expected)} tensors.",
            hint="Take config.json and *.safetensors from the same source.",
            faults=faults[:_MOST_FAULTS],
        )
    return found


def write_folder(
    folder: Path, model: Decoder, config: Mapping[str, Any], special: Mapping[str, int], tokenizer: Path, dtype: Any
) -> None:
    """Write a model folder, whole or not at all.

    Args:
        folder: replaced if it is there.
        model: with its arrays.
        config: what config.json holds besides special ids and dtype.
        special: ids of `pad`, `bos`, `eos`.
        tokenizer: folder whose tokenizer files are copied.
        dtype: of the weights.
    """
    ids = {f"{name}_token_id": special[name] for name in ("bos", "eos", "pad") if name in special}
    kind = jnp.dtype(dtype).name
    parameters = _parameters(model)
    shapes = {_name(path): (_turned(path, value.shape), dtype) for path, value in parameters}
    arrays = (_as_stored(path, value).astype(dtype) for path, value in parameters)
    with whole_folder(folder) as partial:
        with forced(partial / "model.safetensors") as file:
            tensor_files.write(file, shapes, arrays)
        # transformers reads `torch_dtype` up to 4 and `dtype` from 5 on.
        _write_json(partial / "config.json", {**config, **ids, "torch_dtype": kind, "dtype": kind})
        _write_json(partial / "generation_config.json", {**ids, "do_sample": False})
        for name in _TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                with (tokenizer / name).open("rb") as source, forced(partial / name) as copy:
                    shutil.copyfileobj(source, copy)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise BadInput(f"{folder / _INDEX} is not an index of tensors.") from None
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise BadInput(f"{folder} lacks {', '.join(absent)}, which its {_INDEX} names.")
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    others = sorted(path.name for path in folder.glob("*.bin"))
    raise BadInput(
        f"{folder} has no weights: neither model.safetensors nor {_INDEX}"
        + (f", only {', '.join(others)}, which may run code when read." if others else "."),
        hint="Save the model again with transformers: model.save_pretrained(folder, safe_serialization=True).",
    )


def _parameters(model: Decoder) -> list[tuple[tuple[Any, ...], Any]]:
    return list(nnx.to_flat_state(nnx.state(model, nnx.Param)))


def _name(path: tuple[Any, ...]) -> str:
    owner, last = ".".join(map(str, path[:-1])), str(path[-1])
    leaf = "bias" if last == "bias" else "weight"
    return f"{owner}.{leaf}" if owner == "lm_head" else f"model.{owner}.{leaf}"


def _turned(path: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[::-1] if path[-1] == "kernel" else tuple(shape)


def _as_stored(path: tuple[Any, ...], value: Any) -> NDArray[Any]:
    array = np.asarray(value.get_value())
    return array.T if path[-1] == "kernel" else array


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with forced(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
