"""A first training config for this machine: its devices are looked up, and method, precision and batch fit them.

Axes: B rows of a micro-batch, T tokens of a row.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from tunix_rt.training import config as configs
from tunix_rt.training import engines, probe, tokenizer
from tunix_rt.training.config import ModelDimensions, TrainingConfig
from tunix_rt.training.engines import abilities, architecture, memory_formula
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Shape, free_bytes

SCRATCH = "scratch"
_ENGINES_BY_DEVICE = {"tpu": ("tunix",), "gpu": ("torch", "tunix"), "cpu": ("tunix", "torch")}
"""By kind of device, fastest first, the engines that compute on it, preferred first."""
_NVIDIA_SECONDS = 20.0
_ROWS_PER_STEP = 16  # of an adapter: batch_size x accumulation
_SCRATCH_TOKENS = 512  # expected: the longest row of the data set decides
_USABLE_SHARE = 0.7  # of the free memory: the formula's peak is 0.9 to 1.3 of the real one (benchmarks/log.md)
_COMMENT_COLUMN = 32

_SCRATCH_KEYS: tuple[str, ...] = (
    *("dataset", "engine", "model_id"),
    *("model.family", "model.layers", "model.width", "model.hidden", "model.heads", "model.kv_heads"),
    *("tokenizer.kind", "data.template", "data.max_length", "data.overlong"),
    *("seed", "steps", "batch_size", "learning_rate", "schedule", "warmup_steps"),
    *("eval_every_steps", "checkpoint_every_steps"),
)
_ADAPTER_KEYS: tuple[str, ...] = (
    *("dataset", "engine", "model_id", "method", "lora.rank", "lora.alpha"),
    *("data.template", "data.max_length", "data.overlong"),
    *("seed", "epochs", "batching", "batch_size", "accumulation", "learning_rate", "schedule", "warmup_steps"),
    *("weight_decay", "precision", "loss_chunk", "activation_checkpointing"),
    *("eval_every_steps", "checkpoint_every_steps"),
)


@dataclass(frozen=True)
class Machine:
    """The engine and devices of a training on this machine.

    Attributes:
        engine: that trains.
        problem: why that engine is not available, with the command that installs it; None where it is.
        device: `cpu`, `gpu` or `tpu`.
        devices: as the engine lists them; without an engine, as the driver does.
        free_bytes: free memory of a device, of several the least; None: unknown.
    """

    engine: str
    problem: str | None
    device: str
    devices: tuple[str, ...]
    free_bytes: int | None


@dataclass(frozen=True)
class Starter:
    """A config to start from.

    Attributes:
        config: as resolved.
        text: the same as commented YAML.
        reasons: why it is as it is, a sentence each.
        peak_bytes: predicted memory of a device, by formula.
        fits: whether that leaves room; None where the free memory is unknown.
    """

    config: TrainingConfig
    text: str
    reasons: tuple[str, ...]
    peak_bytes: int
    fits: bool | None


def detect(engine: str | None = None) -> Machine:
    """Look up the fastest kind of device of this machine, and an engine that computes on it; imports no framework.

    Args:
        engine: the one to use; None: an installed one that computes on the fastest devices.
    """
    gpus = _nvidia_gpus()
    reports = probe.ask(names=engines.ENGINES if engine is None else (engine,))
    for kind, names in _ENGINES_BY_DEVICE.items():
        for name in names:
            listed = reports[name]["devices"] if name in reports else []
            devices = tuple(device for device in listed if device.partition(":")[0] == kind)
            if devices:
                return Machine(name, None, kind, devices, _free_bytes(kind, gpus))
    kind = "gpu" if gpus else "cpu"
    name = engine or _ENGINES_BY_DEVICE[kind][0]
    devices = tuple(description for description, _ in gpus) or ("cpu:0 cpu",)
    return Machine(name, str(reports[name]["reason"]), kind, devices, _free_bytes(kind, gpus))


def choose(machine: Machine, model_id: str = SCRATCH, dataset: str | None = None) -> Starter:
    """Choose a config.

    Args:
        machine: where it will be trained.
        model_id: `scratch`, or the folder of the model to adapt.
        dataset: key of the data set; None: left to the command line.

    Raises:
        NotFound: no such model folder.
        BadInput: the folder does not read, or the engine does not train such a model.
    """
    values: dict[str, Any] = {"engine": machine.engine, "dataset": dataset}
    if model_id == SCRATCH:
        base, keys = None, _SCRATCH_KEYS
        d = architecture.from_scratch(ModelDimensions(), TrainingConfig().tokenizer.vocab_size, _SCRATCH_TOKENS)
        values |= {"steps": TrainingConfig().total_steps(1)}
    else:
        base, keys = Path(model_id).expanduser().resolve(), _ADAPTER_KEYS
        d = architecture.from_json(architecture.read_json(base), base)
        tokenizer.Folder(base)  # refuses a folder without one
        values |= {"model_id": str(base), **_adapter(machine)}
    config, peak = _sized(values, machine, d)
    abilities.refuse(config, machine.device, base)
    fits = None if machine.free_bytes is None else peak <= _USABLE_SHARE * machine.free_bytes
    return Starter(config, _text(config, keys, machine), _reasons(config, machine, d), peak, fits)


def _nvidia_gpus() -> list[tuple[str, int]]:
    """The GPUs as NVIDIA's driver lists them, each with its free bytes; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=index,memory.free,name", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SECONDS, check=True)
        rows = [line.split(", ", 2) for line in done.stdout.splitlines()]
        return [(f"gpu:{int(index)} {name}", int(free) * 2**20) for index, free, name in rows]
    except (OSError, subprocess.SubprocessError, ValueError):  # a driver without a GPU says so in its own ways
        return []


def _free_bytes(kind: str, gpus: Sequence[tuple[str, int]]) -> int | None:
    if kind == "cpu":
        return free_bytes()
    return min((free for _, free in gpus), default=None) if kind == "gpu" else None


def _adapter(machine: Machine) -> dict[str, Any]:
    on_cpu = machine.device == "cpu"
    return {
        "method": "lora",
        "lora": {"rank": 16, "alpha": 32},
        "data": {"max_length": 512 if on_cpu else 1024, "overlong": "drop"},
        "epochs": 2,
        "batching": "packed",
        "learning_rate": 2e-4,
        "warmup_steps": 20,
        "weight_decay": 0.0,
        "precision": "float32" if on_cpu else "bfloat16",
        "loss_chunk": 512 if machine.engine == "tunix" else None,
        "activation_checkpointing": True,
        "eval_every_steps": 50,
        "checkpoint_every_steps": 100,
    }


def _sized(values: dict[str, Any], machine: Machine, d: Dimensions) -> tuple[TrainingConfig, int]:
    """The config with as many rows a device as have room, a power of two, and its memory."""
    lora, devices = "method" in values, 1 if machine.device == "cpu" else len(machine.devices)
    if not lora:
        rows = TrainingConfig().batch_size
    elif machine.free_bytes is None:
        rows = 1
    else:
        rows = 4 if machine.device == "cpu" else _ROWS_PER_STEP
    while True:
        batch = rows * devices
        accumulation = max(1, _ROWS_PER_STEP // batch) if lora else 1
        config = TrainingConfig.model_validate({**values, "batch_size": batch, "accumulation": accumulation})
        peak = _peak(config, d, Shape(rows, config.data.max_length or _SCRATCH_TOKENS, lora), devices)
        if rows == 1 or machine.free_bytes is None or peak <= _USABLE_SHARE * machine.free_bytes:
            return config, peak
        rows //= 2


def _peak(config: TrainingConfig, d: Dimensions, shape: Shape, devices: int) -> int:
    if config.engine == "torch":
        return memory_formula.torch_formula(config, d, shape, None).peak
    return memory_formula.jax_formula(config, d, shape, None, shards=devices).peak


def _reasons(config: TrainingConfig, machine: Machine, d: Dimensions) -> tuple[str, ...]:
    free = machine.free_bytes
    room = "unknown free memory" if free is None else f"{free / 2**30:.1f} GiB free"
    reasons = [f"engine {config.engine}: on {', '.join(machine.devices)}, with {room}"]
    if config.method == "lora":
        reasons.append(f"method lora: an adapter of the {d.family} model of {d.layers} layers, {d.width} wide")
        reasons.append(f"precision {config.precision}: what a {machine.device} computes fast")
        fit = "one row a device, as the free memory is unknown" if free is None else "what fits in the free memory"
        reasons.append(f"batch_size {config.batch_size}, accumulation {config.accumulation}: {fit}")
    else:
        reasons.append("model_id scratch: a small model that trains in minutes")
        reasons.append("to adapt a model instead (LoRA, in bfloat16 on a GPU): --model-id FOLDER")
    return tuple(reasons)


def _text(config: TrainingConfig, keys: tuple[str, ...], machine: Machine) -> str:
    flat = configs.flat(config.model_dump(mode="json"))
    lines = [
        f"# A training by {'JAX' if config.engine == 'tunix' else 'PyTorch'} on {', '.join(machine.devices)}.",
        "# What it would take, and then the training itself:",
        "#   tunix-rt train FILE --dataset KEY --plan",
        "#   tunix-rt train FILE --dataset KEY",
        "# These are the first keys to know; --plan prints all.",
    ]
    section = ""
    for key in keys:
        name, _, inner = key.partition(".")
        if inner and name != section:
            lines.append(f"{name}:")
        section = name if inner else ""
        value = yaml.safe_dump(flat[key], allow_unicode=True, width=float("inf")).removesuffix("\n...\n").strip()
        setting = f"  {inner}: {value}" if inner else f"{key}: {value}"
        lines.append(f"{setting:<{_COMMENT_COLUMN - 1}} # {_description(key)}")
    return "\n".join(lines) + "\n"


def _description(key: str) -> str:
    section: type[BaseModel] = TrainingConfig
    *outer, last = key.split(".")
    for part in outer:
        section = section.model_fields[part].annotation  # type: ignore[assignment]  # a section's annotation is its class
    return section.model_fields[last].description or ""
