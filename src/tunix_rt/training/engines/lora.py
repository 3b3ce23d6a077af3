"""Low-rank adapters (arXiv:2106.09685) as PEFT keeps them: names, shapes, the start, folders, and merging.

A weight W (out, in) becomes W + scale B A, with A (r, in) and B (out, r). A folder holds adapter_config.json,
adapter_model.safetensors and the tokenizer's files, and names the model that it adapts.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training.config import LoraChoice
from tunix_rt.training.engines import architecture, model_folder, tensor_files
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.whole_folder import forced, whole_folder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_MOST_FAULTS = 20
# What changes the function, and the values under which it does not; `use_rslora` changes the scale alone.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None, []),
    "alora_invocation_tokens": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
}


def adapted(d: Dimensions, targets: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """The modules that an adapter updates, named as in the model's folder, with their (out, in)."""
    return {
        f"model.layers.{index}.{name}": shape
        for index in range(d.layers)
        for name, shape in model_folder.projections(d).items()
        if name.rpartition(".")[2] in targets
    }


def tensor_shapes(d: Dimensions, lora: LoraChoice) -> dict[str, tuple[int, ...]]:
    """Shapes of an adapter's tensors by their names in its folder."""
    shapes: dict[str, tuple[int, ...]] = {}
    for module, (outputs, inputs) in adapted(d, lora.targets).items():
        shapes[f"{_PREFIX}{module}{_A}"] = (lora.rank, inputs)
        shapes[f"{_PREFIX}{module}{_B}"] = (outputs, lora.rank)
    return shapes


def start(d: Dimensions, lora: LoraChoice, seed: int) -> dict[str, NDArray[Any]]:
    """Untrained tensors, each a function of seed and name alone: A uniform within 1 / sqrt(in), as PEFT's; B zero."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, shape in tensor_shapes(d, lora).items():
        if name.endswith(_B):
            tensors[name] = np.zeros(shape, np.float32)
            continue
        random = np.random.default_rng([seed, *name.encode()])
        tensors[name] = (random.random(shape, np.float32) * 2 - 1) * np.float32(shape[1] ** -0.5)
    return tensors


def write_adapter(
    folder: Path,
    tensors: Mapping[str, Any],
    lora: LoraChoice,
    base: Path,
    special: Mapping[str, int],
    tokenizer: Path,
    dtype: Any = np.float32,
) -> None:
    """Write an adapter's folder, whole or not at all.

    Args:
        folder: replaced if it is there.
        tensors: NumPy arrays (or what `np.asarray` takes) by name.
        lora: what it was trained with.
        base: folder of the model that it adapts; its absolute path is written down.
        special: ids of `pad`, `bos`, `eos`.
        tokenizer: folder whose tokenizer files are copied.
        dtype: of the weights.
    """
    kind = np.dtype(dtype)
    with whole_folder(folder) as partial:
        with forced(partial / WEIGHTS) as file:
            arrays = {name: np.asarray(array).astype(kind, copy=False) for name, array in sorted(tensors.items())}
            tensor_files.write(file, {name: (array.shape, kind) for name, array in arrays.items()}, arrays.values())
        model_folder.write_json(partial / CONFIG, _to_json(lora, base))
        ids = model_folder.token_ids(special, tokenizer)
        model_folder.write_json(partial / model_folder.GENERATION, {**ids, "do_sample": False})
        model_folder.copy_tokenizer(tokenizer, partial)


def _to_json(lora: LoraChoice, base: Path) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base.resolve()),
        "revision": None,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,  # old PEFT wants an int
        "target_modules": sorted(lora.targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "layers_to_transform": None,
        "layers_pattern": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }


@dataclass(frozen=True)
class Adapter:
    """An adapter that was read.

    Attributes:
        base: folder of the model that it adapts, as its config names it.
        scale: of every update.
        tensors: by name, mapped into memory.
    """

    base: Path
    scale: float
    tensors: Mapping[str, NDArray[Any]]

    def modules(self) -> list[str]:
        """The modules that it updates, named as in the model's folder."""
        return [name.removeprefix(_PREFIX).removesuffix(_A) for name in self.tensors if name.endswith(_A)]

    def update(self, module: str) -> NDArray[np.float32]:
        """What it adds to a module's weight, float32 (out, in)."""
        a, b = (self.tensors[f"{_PREFIX}{module}{end}"].astype(np.float32) for end in (_A, _B))
        return np.asarray(b @ a * np.float32(self.scale))


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not a whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder.

    Raises:
        BadInput: a file is missing or damaged, or it is of a kind that we would compute wrongly.
    """
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rank, alpha, base = int(content["r"]), float(content["lora_alpha"]), content["base_model_name_or_path"]
    except FileNotFoundError:
        raise BadInput(f"{folder} is not an adapter's folder: it has no {CONFIG}.") from None
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            f"{path} is not a LoRA adapter's config: it needs r, lora_alpha, base_model_name_or_path."
        ) from None
    if not (folder / WEIGHTS).is_file():
        raise BadInput(f"{folder} has no weights: {WEIGHTS} is missing.")
    faults = [
        Fault(key, f"is {content[key]!r}, which is not supported; we have {allowed[0]!r}")
        for key, allowed in _NEUTRAL.items()
        if key in content and content[key] not in allowed
    ]
    if rank < 1:
        faults.append(Fault("r", f"is {rank}, not a positive number"))
    if not isinstance(base, str) or not base:
        faults.append(Fault("base_model_name_or_path", "names no model"))
    if faults:
        raise BadInput(
            f"{path}: {len(faults)} setting(s) that we cannot honour",
            hint="Merge it with PEFT (model.merge_and_unload()), save the model, and name that folder.",
            faults=faults,
        )
    scale = alpha / (math.sqrt(rank) if content.get("use_rslora") else rank)
    return Adapter(Path(base), scale, tensor_files.read(folder / WEIGHTS))


class Merged(Mapping[str, NDArray[Any]]):
    """A model's tensors with an adapter's updates added in float32, one at a time when it is asked for."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], adapter: Adapter) -> None:
        self._tensors = tensors
        self._adapter = adapter
        self._updated = {f"{module}.weight": module for module in adapter.modules()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._updated:
            return self._tensors[name]
        return np.asarray(self._tensors[name].astype(np.float32) + self._adapter.update(self._updated[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@dataclass(frozen=True)
class Opened:
    """A model folder, or an adapter's with the model that it adapts.

    Attributes:
        dimensions: of the model.
        config: its config.json.
        tensors: the model's by name; with an adapter, its updates are in them.
        base: the folder that holds the model's own weights.
        adapter: None where the folder is a whole model.
    """

    dimensions: Dimensions
    config: dict[str, Any]
    tensors: Mapping[str, NDArray[Any]]
    base: Path
    adapter: Adapter | None


def open_folder(folder: Path, base: Path | None = None) -> Opened:
    """Read a model folder; where it holds an adapter, that and its base, merged.

    Args:
        folder: the model or adapter.
        base: instead of the one that the adapter names.

    Raises:
        NotFound: no such folder.
        BadInput: files that are missing, damaged or do not belong together; something that we would compute wrongly.
    """
    if not is_adapter(folder):
        config = architecture.read_json(folder)
        dimensions = architecture.from_json(config, folder)
        return Opened(dimensions, config, model_folder.read_tensors(folder, dimensions), folder, None)
    adapter = read_adapter(folder)
    base = base or adapter.base
    if not base.is_dir():
        raise BadInput(
            f"{folder} adapts the model {base}, which is not there.",
            hint=f"Put the model there, or write its folder into {folder / CONFIG} as base_model_name_or_path.",
        )
    config = architecture.read_json(base)
    dimensions = architecture.from_json(config, base)
    _check_fit(folder, adapter, dimensions)
    tensors = Merged(model_folder.read_tensors(base, dimensions), adapter)
    return Opened(dimensions, config, tensors, base, adapter)


def _check_fit(folder: Path, adapter: Adapter, d: Dimensions) -> None:
    """Every update has both its parts, of shapes that fit a projection of the model."""
    names = tuple(name.rpartition(".")[2] for name in model_folder.projections(d))
    shapes = adapted(d, names)
    expected: dict[str, tuple[int, ...]] = {}
    for module in dict.fromkeys(_module(name) for name in adapter.tensors):
        if module in shapes:
            a = adapter.tensors.get(f"{_PREFIX}{module}{_A}")
            rank = len(a) if a is not None and a.ndim else 0
            expected[f"{_PREFIX}{module}{_A}"] = (rank, shapes[module][1])
            expected[f"{_PREFIX}{module}{_B}"] = (shapes[module][0], rank)
    faults = model_folder.misfits(adapter.tensors, expected)
    if not adapter.tensors:
        faults.append(Fault(WEIGHTS, "holds no tensors"))
    if faults:
        raise BadInput(
            f"The adapter {folder} does not fit the model {adapter.base}: {len(faults)} fault(s).",
            hint="Take the model that it was trained on.",
            faults=faults[:_MOST_FAULTS],
        )


def _module(name: str) -> str:
    return name.removeprefix(_PREFIX).removesuffix(_A).removesuffix(_B)
