"""What the memory of a training is made of, and what this machine has free; imports no framework.

Axes: B rows, T tokens of a row.
"""

from dataclasses import dataclass
from pathlib import Path

TERMS = ("parameters", "gradients", "optimizer", "activations", "logits", "temporary")

_HOPELESS = 1.5  # the formula says 0.9 to 1.3 of what is so (benchmarks/log.md)


@dataclass(frozen=True)
class Shape:
    """The largest micro-batch of a training: B rows of T tokens; packed: several traces in a row."""

    rows: int
    width: int
    packed: bool = False


@dataclass(frozen=True)
class Memory:
    """The memory of an optimizer step at its peak, in bytes.

    Attributes:
        method: how the peak was found: `compiler`, `fake tensors` or `formula`, with what restricts it.
        parameters: of the model, frozen ones too.
        gradients: of what is trained, with their sum over micro-batches.
        optimizer: AdamW's two moments.
        activations: what is kept for going back, and all that is held in between.
        logits: with the copies that their loss makes.
        temporary: the batch; in JAX also as much as the trained parameters, for what the formula does not name; in
            PyTorch on a CPU the holes in malloc's heap.
        available: what the device has free; None: unknown.
    """

    method: str
    parameters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    temporary: int
    available: int | None

    @property
    def terms(self) -> dict[str, int]:
        """The terms by name, which add up to the peak."""
        return {name: getattr(self, name) for name in TERMS}

    @property
    def peak(self) -> int:
        return sum(self.terms.values())

    @property
    def hopeless(self) -> bool:
        """What is held whatever the batch does not fit, or so much more is needed that no closer look is."""
        held = self.parameters + self.optimizer
        return self.available is not None and (held > self.available or self.peak > _HOPELESS * self.available)

    @property
    def ample(self) -> bool:
        """It fits twice."""
        return self.available is not None and 2 * self.peak <= self.available

    @property
    def fits(self) -> bool:
        return self.available is None or self.peak <= self.available


def free_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that a process can still get here: the machine's or its control groups', whichever is less.

    Args:
        proc: where the kernel's figures lie.
        cgroups: where the control groups lie, version 1 or 2.

    Returns:
        bytes; None where neither is known.
    """
    known = [*_machine(proc / "meminfo"), *_groups(proc / "self" / "cgroup", cgroups)]
    return min(known, default=None)


def _machine(path: Path) -> list[int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _groups(path: Path, cgroups: Path) -> list[int]:
    """What each control group on the way up leaves; page cache that can be dropped counts as free."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        version_2 = controllers == ""
        root = cgroups if version_2 else cgroups / "memory"
        limit, usage = (
            ("memory.max", "memory.current") if version_2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        folder = root / name.lstrip("/")
        for group in (folder, *folder.parents):
            most, used = _number(group / limit), _number(group / usage)
            if most is not None and used is not None:
                found.append(max(0, most - used + _cache(group / "memory.stat")))
            if group == root:
                break
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such group here, or `max`
        return None


def _cache(path: Path) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
