"""What each engine can do, as a table: shown by `tunix-rt doctor` and the API, and asked before a training starts.

What is not in it is refused, never emulated. Nothing of an engine is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import architecture
from tunix_rt.training.engines.architecture import FAMILIES

FIELDS = ("methods", "families", "batchings", "devices", "savings", "shared")


@dataclass(frozen=True)
class Ability:
    """What an engine can do.

    Attributes:
        methods: values of `method`.
        families: model_type of the folders that it trains, and of models from scratch.
        batchings: values of `batching`.
        devices: kinds that it computes on, where they are there.
        savings: settings that save memory, for time or by sharing it among devices.
        shared: settings that it honours also where several devices share a training; one device honours them always.
    """

    methods: tuple[str, ...]
    families: tuple[str, ...]
    batchings: tuple[str, ...]
    devices: tuple[str, ...]
    savings: tuple[str, ...]
    shared: tuple[str, ...]

    def document(self) -> dict[str, list[str]]:
        """As plain JSON."""
        return {name: list(getattr(self, name)) for name in FIELDS}


_BATCHINGS = ("bucketed", "padded", "packed")
_SAVINGS = ("loss_chunk", "activation_checkpointing", "activation_offload", "mesh", "mesh.tensor")
_OF_TUNIX = tuple(name for name in _SAVINGS if name != "activation_offload")
CAPABILITIES: dict[str, Ability] = {
    "tunix": Ability(("full", "lora"), FAMILIES, _BATCHINGS, ("cpu", "gpu", "tpu"), _OF_TUNIX, ("samples",)),
    "torch": Ability(("full", "lora"), FAMILIES, _BATCHINGS, ("cpu", "gpu"), _SAVINGS[:-1], ()),
}


def refuse(config: TrainingConfig, device: str, base: Path | None = None) -> None:
    """Refuse what the config's engine cannot do, before anything is loaded.

    Args:
        config: the training's.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        base: the model folder to start from; None: from scratch.

    Raises:
        BadInput: each thing that it cannot do, with what it can, and the engine that could do all of it; a base that
            no engine would compute rightly.
    """
    place: str = "model.family"
    family: str = config.model.family
    if base is not None:
        place, family = "model_id", architecture.from_json(architecture.read_json(base), base).family
    asked: list[tuple[str, str, Any]] = [
        ("method", "methods", config.method),
        ("batching", "batchings", config.batching),
        (place, "families", family),
    ]
    differs = {name: getattr(config, name) != getattr(TrainingConfig(), name) for name in _SAVINGS[:-1]}
    differs["mesh.tensor"] = config.mesh.tensor > 1
    asked += [(name, "savings", name) for name in _SAVINGS if differs[name]]
    if device != "auto":
        asked.append(("device", "devices", device))

    def lacking(engine: str) -> list[Fault]:
        table = CAPABILITIES[engine].document()
        return [
            Fault(
                place,
                f"{value!r} is nothing that the engine {engine!r} does; it has {', '.join(table[what]) or 'none'}",
            )
            for place, what, value in asked
            if value not in table[what]
        ]

    faults = lacking(config.engine)
    if faults:
        able = [name for name in CAPABILITIES if not lacking(name)]
        raise BadInput(
            f"The engine {config.engine!r} cannot do this training.",
            hint=f"Set engine: {able[0]}." if able else "Change what is named.",
            faults=faults,
        )


def refuse_here(config: TrainingConfig, devices: Sequence[str]) -> None:
    """Refuse what the config's engine cannot do on these devices, before it starts.

    Args:
        config: the training's.
        devices: that compute, as the engine lists them; of one CPU the mesh may make several.

    Raises:
        BadInput: activations would be moved from the CPU's memory to the CPU's; samples are asked for, and the engine
            answers none where several devices share a training.
    """
    if config.activation_offload and devices[0].startswith("cpu"):
        raise BadInput(
            "activation_offload moves what is kept for going back to the host's memory, where this training computes.",
            hint="Set activation_offload: false, or train on a GPU: --device gpu.",
            faults=[Fault("activation_offload", f"is true; {devices[0]} is the host")],
        )
    mesh = config.mesh
    together = max(len(devices), mesh.data * (mesh.fsdp or 1) * mesh.tensor)
    if config.samples and together > 1 and "samples" not in CAPABILITIES[config.engine].shared:
        able = [name for name, ability in CAPABILITIES.items() if "samples" in ability.shared]
        raise BadInput(
            f"The engine {config.engine!r} answers no samples where several devices share a training, and here are "
            f"{together}.",
            hint="Set samples: 0, or train on one device" + "".join(f", or set engine: {name}" for name in able) + ".",
            faults=[Fault("samples", f"is {config.samples}; 0 is what {config.engine!r} does on {together} devices")],
        )
