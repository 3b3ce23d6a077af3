"""What makes a training fit that does not: changes of its config, each planned again; and the refusal with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tunix_rt.base.errors import DoesNotFit, Fault
from tunix_rt.training.config import TrainingConfig, flat
from tunix_rt.training.engines.abilities import CAPABILITIES
from tunix_rt.training.engines.memory import Memory

_CHUNKS = (2048, 512, 128)  # tokens; smaller pieces save little more and cost time
_SHORTEST = 64
_LARGEST_TERMS = 3

Predict = Callable[[TrainingConfig], Memory]


@dataclass(frozen=True)
class Mend:
    """A change of a config.

    Attributes:
        change: keys and their new values.
        config: with the change.
        memory: what it then takes.
    """

    change: dict[str, Any]
    config: TrainingConfig
    memory: Memory

    def __str__(self) -> str:
        words = ", ".join(f"{key}: {_yaml(value)}" for key, value in flat(self.change).items())
        return f"set {words} -> {said(self.memory.peak)}"


def refuse(
    config: TrainingConfig, memory: Memory, width: int, from_folder: bool, on_gpu: bool, predict: Predict
) -> None:
    """Refuse a training that does not fit.

    Args:
        config: the run's.
        memory: what it takes.
        width: tokens of its widest row.
        from_folder: the model is read from a folder, so that an adapter may be trained.
        on_gpu: the device's memory is not the host's.
        predict: plans a changed config again.

    Raises:
        DoesNotFit: more is needed than is free; names the largest terms and what helps.
    """
    if memory.fits or memory.available is None:
        return
    tried = mends(config, memory, width, from_folder, on_gpu, predict)
    helping = [mend for mend in tried if mend.memory.fits]
    largest = sorted(memory.terms.items(), key=lambda term: -term[1])[:_LARGEST_TERMS]
    if helping:
        hint = "One of these makes it fit: " + "; ".join(map(str, helping)) + "."
    elif tried:
        least = min(tried, key=lambda mend: mend.memory.peak)
        hint = f"No change of the config that we know is enough; the most is saved by: {least}. Take a smaller model."
    else:
        hint = "No change of the config that we know saves memory here. Take a smaller model."
    raise DoesNotFit(
        f"The training needs {said(memory.peak)} and {said(memory.available)} are free: "
        + ", ".join(f"{name} {said(size)}" for name, size in largest)
        + f" ({memory.method}).",
        hint=hint,
        faults=[Fault(", ".join(flat(mend.change)), str(mend)) for mend in tried],
    )


def mends(
    config: TrainingConfig, memory: Memory, width: int, from_folder: bool, on_gpu: bool, predict: Predict
) -> list[Mend]:
    """Changes that save memory, each planned again: those that fit first, and last of all several at once.

    What costs no time or quality is tried first, and shorter rows, which change what is trained, only where nothing
    else is enough. How rows share batches is no mend: the largest batch is as large either way.
    """
    found: list[Mend] = []

    def attempt(change: dict[str, Any]) -> Mend:
        changed = TrainingConfig.model_validate(_merged(config.model_dump(), change))
        return Mend(change, changed, predict(changed))

    def escalate(changes: Iterator[dict[str, Any]]) -> None:
        """Make more of a change until it fits; what saves nothing is none."""
        best = None
        for change in changes:
            mend = attempt(change)
            if mend.memory.peak < (best.memory if best else memory).peak:
                best = mend
            if mend.memory.fits:
                break
        if best is not None:
            found.append(best)

    def enough() -> bool:
        return any(mend.memory.fits for mend in found)

    escalate(_chunks(config))
    escalate(_halved(config))
    for change in _single(config, from_folder, on_gpu):
        escalate(iter([change]))
    if not enough():
        escalate(_shortened(config, width))
    if len(found) > 1 and not enough():
        together: dict[str, Any] = {}
        for mend in found:
            together |= mend.change
        found.append(attempt(together))
    return sorted(found, key=lambda mend: not mend.memory.fits)


def _chunks(config: TrainingConfig) -> Iterator[dict[str, Any]]:
    if "loss_chunk" in CAPABILITIES[config.engine].savings:
        yield from ({"loss_chunk": size} for size in _CHUNKS if config.loss_chunk is None or size < config.loss_chunk)


def _halved(config: TrainingConfig) -> Iterator[dict[str, Any]]:
    """Smaller micro-batches, more of them: a step sees as many rows as before."""
    size, accumulation = config.batch_tokens or config.batch_size, config.accumulation
    name = "batch_tokens" if config.batch_tokens else "batch_size"
    while size % 2 == 0 and accumulation * 2 <= 4096 and size // 2 >= (8 if config.batch_tokens else 1):
        size, accumulation = size // 2, accumulation * 2
        yield {name: size, "accumulation": accumulation}


def _single(config: TrainingConfig, from_folder: bool, on_gpu: bool) -> Iterator[dict[str, Any]]:
    if "activation_checkpointing" in CAPABILITIES[config.engine].savings and not config.activation_checkpointing:
        yield {"activation_checkpointing": True}
    if "activation_offload" in CAPABILITIES[config.engine].savings and on_gpu and not config.activation_offload:
        yield {"activation_offload": True}
    if config.precision == "float32":
        yield {"precision": "bfloat16"}
    if config.method == "full" and from_folder:
        yield {"method": "lora"}


def _shortened(config: TrainingConfig, width: int) -> Iterator[dict[str, Any]]:
    overlong = {"overlong": "truncate"} if config.data.overlong == "raise" else {}
    while width // 2 >= _SHORTEST:
        width //= 2
        yield {"data": {"max_length": width, **overlong}}


def _merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    inner = {key: values[key] | new for key, new in change.items() if isinstance(new, dict)}
    return values | change | inner


def said(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
