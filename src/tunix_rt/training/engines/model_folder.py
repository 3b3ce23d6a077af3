"""Hugging Face model folders for every engine: names and shapes of tensors, tensors in and out, nothing guessed.

Shapes follow from the dimensions alone, so that planning needs no framework. A linear layer's weight is (out, in).
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training.engines import architecture, tensor_files
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.whole_folder import forced, whole_folder

GENERATION = "generation_config.json"
WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
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
_SHARD_BYTES = 5 * 10**9


def projections(d: Dimensions) -> dict[str, tuple[int, int]]:
    """The linear layers of each decoder layer: their module's name within it, and (out, in)."""
    queries, keys = d.heads * d.head_size, d.kv_heads * d.head_size
    return {
        "self_attn.q_proj": (queries, d.width),
        "self_attn.k_proj": (keys, d.width),
        "self_attn.v_proj": (keys, d.width),
        "self_attn.o_proj": (d.width, queries),
        "mlp.gate_proj": (d.hidden, d.width),
        "mlp.up_proj": (d.hidden, d.width),
        "mlp.down_proj": (d.width, d.hidden),
    }


def tensor_shapes(d: Dimensions) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's tensors by name, as they lie in a folder."""
    layer: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (d.width,)}
    for name, shape in projections(d).items():
        layer[f"{name}.weight"] = shape
        if d.qkv_bias and name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            layer[f"{name}.bias"] = shape[:1]
    if d.qk_norm:
        layer |= {"self_attn.q_norm.weight": (d.head_size,), "self_attn.k_norm.weight": (d.head_size,)}
    layer["post_attention_layernorm.weight"] = (d.width,)
    if d.gemma:
        layer |= {
            "pre_feedforward_layernorm.weight": (d.width,),
            "post_feedforward_layernorm.weight": (d.width,),
        }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (d.vocabulary, d.width)}
    for index in range(d.layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (d.width,)
    if not d.tied:
        shapes["lm_head.weight"] = (d.vocabulary, d.width)
    return shapes


def start(d: Dimensions, seed: int) -> dict[str, NDArray[Any]]:
    """Untrained tensors, each a function of seed and name alone.

    Norms multiply by 1 (Gemma's weights are what is added to it), biases are 0, kernels and embeddings come from
    N(0, 1 / (3 inputs)), where an embedding's inputs are its width: the variance of PyTorch's own linear layers, and
    of the usual 0.02 at a width of 833. A constant 0.02 is far too small for a narrow model: at a width of 64 it
    halved what was learnt in 1,000 steps.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, shape in tensor_shapes(d).items():
        if len(shape) == 1:
            tensors[name] = np.full(shape, 0.0 if d.gemma or name.endswith(".bias") else 1.0, np.float32)
            continue
        random = np.random.default_rng([seed, *name.encode()])
        tensors[name] = random.standard_normal(shape, np.float32) * np.float32((3 * shape[1]) ** -0.5)
    return tensors


def read_tensors(folder: Path, d: Dimensions) -> dict[str, NDArray[Any]]:
    """Read a folder's weights, mapped into memory in their stored types.

    Raises:
        BadInput: no weights, a damaged file, tensors that are missing, unexpected or of another shape.
    """
    found: dict[str, NDArray[Any]] = {}
    for file in weight_files(folder):
        found.update(tensor_files.read(file))
    # Old Llama folders carry a table that everybody computes.
    found = {name: array for name, array in found.items() if not name.endswith("rotary_emb.inv_freq")}
    head, table = found.get("lm_head.weight"), found.get("model.embed_tokens.weight")
    if d.tied and head is not None and table is not None and np.array_equal(head, table):
        del found["lm_head.weight"]
    expected = tensor_shapes(d)
    faults = misfits(found, expected)
    if faults:
        raise BadInput(
            f"The weights in {folder} do not fit its config.json: {len(faults)} of {len(expected)} tensors.",
            hint="Take config.json and *.safetensors from the same source.",
            faults=faults[:_MOST_FAULTS],
        )
    return found


def misfits(found: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[int, ...]]) -> list[Fault]:
    """Tensors that are missing, unexpected or of another shape than config.json says."""
    faults = [Fault(name, f"missing; expected shape {shape}") for name, shape in expected.items() if name not in found]
    faults += [Fault(name, "unexpected; config.json has no place for it") for name in found if name not in expected]
    faults += [
        Fault(name, f"shape {found[name].shape}; config.json says {shape}")
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    return faults


def write_folder(
    folder: Path,
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    special: Mapping[str, int],
    tokenizer: Path,
    dtype: Any,
) -> None:
    """Write a model folder, whole or not at all; over 5 GB in shards with an index.

    Args:
        folder: replaced if it is there.
        tensors: NumPy arrays (or what `np.asarray` takes) by name; each is fetched once, when it is written.
        config: what config.json holds besides special ids and dtype.
        special: ids of `pad`, `bos`, `eos`.
        tokenizer: folder whose tokenizer files are copied; its generation_config.json may name more stop tokens.
        dtype: of the weights, as NumPy knows it: `float32`, or `ml_dtypes.bfloat16`.
    """
    ids, kind = token_ids(special, tokenizer), np.dtype(dtype)
    shards = _shards(tensor_shapes(architecture.from_json(config, folder)), kind.itemsize)
    with whole_folder(folder) as partial:
        for file_name, shapes in shards.items():
            with forced(partial / file_name) as file:
                arrays = (np.asarray(tensors[name]).astype(kind, copy=False) for name in shapes)
                tensor_files.write(file, {name: (shape, kind) for name, shape in shapes.items()}, arrays)
        if len(shards) > 1:
            write_json(partial / _INDEX, _index(shards, kind.itemsize))
        # transformers reads `torch_dtype` up to 4 and `dtype` from 5 on.
        write_json(partial / "config.json", {**config, **ids, "torch_dtype": kind.name, "dtype": kind.name})
        write_json(partial / GENERATION, {**ids, "do_sample": False})
        copy_tokenizer(tokenizer, partial)


def token_ids(special: Mapping[str, int], tokenizer: Path) -> dict[str, Any]:
    """Ids of special tokens as config.json and generation_config.json name them; several stop tokens are a list."""
    ids: dict[str, Any] = {f"{name}_token_id": special[name] for name in ("bos", "eos", "pad") if name in special}
    try:
        named = json.loads((tokenizer / GENERATION).read_text(encoding="utf-8")).get("eos_token_id")
    except FileNotFoundError:
        return ids
    stops = [*([special["eos"]] if "eos" in special else []), *(named if isinstance(named, list) else [named])]
    stops = list(dict.fromkeys(stop for stop in stops if isinstance(stop, int)))
    return ids | ({"eos_token_id": stops[0] if len(stops) == 1 else stops} if stops else {})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of a partial folder."""
    with forced(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def copy_tokenizer(source: Path, partial: Path) -> None:
    """Copy a tokenizer's files into a partial folder."""
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            with (source / name).open("rb") as read, forced(partial / name) as copy:
                shutil.copyfileobj(read, copy)


def _shards(shapes: Mapping[str, tuple[int, ...]], itemsize: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Files by name, each with its tensors; a tensor is never cut."""
    files: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in shapes.items():
        more = math.prod(shape) * itemsize
        if files[-1] and size + more > _SHARD_BYTES:
            files.append({})
            size = 0
        files[-1][name] = shape
        size += more
    if len(files) == 1:
        return {WEIGHTS: files[0]}
    return {f"model-{number:05d}-of-{len(files):05d}.safetensors": held for number, held in enumerate(files, 1)}


def _index(shards: Mapping[str, Mapping[str, tuple[int, ...]]], itemsize: int) -> dict[str, Any]:
    total = sum(math.prod(shape) * itemsize for held in shards.values() for shape in held.values())
    return {
        "metadata": {"total_size": total},
        "weight_map": {name: file for file, held in shards.items() for name in held},
    }


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder's weights.

    Raises:
        BadInput: none, or one that its index names is missing.
    """
    if (folder / _INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise BadInput(f"{folder / _INDEX} is not an index of tensors.") from None
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise BadInput(f"{folder} lacks {', '.join(absent)}, which its {_INDEX} names.")
        return [folder / name for name in names]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    others = sorted(path.name for path in folder.glob("*.bin"))
    raise BadInput(
        f"{folder} has no weights: neither {WEIGHTS} nor {_INDEX}"
        + (f", only {', '.join(others)}, which may run code when read." if others else "."),
        hint="Save the model again with transformers: model.save_pretrained(folder, safe_serialization=True).",
    )
