"""Where a training comes from: versions, code, device, command, and digests of what has no digest of its own."""

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tunix_rt import __version__
from tunix_rt.base import store
from tunix_rt.training import render
from tunix_rt.training.config import TrainingConfig

PACKAGES = (
    "google-tunix",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "tokenizers",
    "safetensors",
    "torch",
    "transformers",
    "peft",
)


def document(config: TrainingConfig, base: Path | None, device: str) -> dict[str, Any]:
    """What provenance.json says besides the digests of data and tokenizer."""
    return {
        "template": {"name": config.data.template, "digest": template_digest(config)},
        "base_model": {"path": str(base), "digest": model_digest(base)} if base else {"digest": None},
        "packages": packages(),
        "git": _git(),
        "device": device,
        "seed": config.seed,
        "command": sys.argv,
    }


def packages() -> dict[str, str]:
    """Versions of everything whose change may change the bits."""
    found = {"tunix-rt": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def template_digest(config: TrainingConfig) -> str:
    sample = {"steps": [{"content": "\x01"}, {"content": "\x02"}], "final_answer": "\x03"}
    return "sha256:" + hashlib.sha256(render.completion(sample, config.data.template).encode()).hexdigest()


def model_digest(base: Path) -> str:
    """Over the names and bytes of the weights and their config."""
    total = hashlib.sha256()
    for path in sorted([*base.glob("*.safetensors"), base / "config.json"]):
        if path.exists():
            total.update(f"{path.name} {store.digest(path)}\n".encode())
    return "sha256:" + total.hexdigest()


def _git() -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S607  # git is found on the PATH

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
