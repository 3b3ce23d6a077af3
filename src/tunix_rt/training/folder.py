"""The run directory before training: config, data, tokenizer and provenance, written once, read by every engine."""

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tunix_rt import __version__
from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.training import config as configs
from tunix_rt.training import render, tokenizer
from tunix_rt.training.config import TrainingConfig

PACKAGES = ("google-tunix", "jax", "jaxlib", "flax", "optax", "numpy", "tokenizers", "safetensors")
FREE_TO_CHANGE = {"eval_every_steps", "checkpoint_every_steps", "keep_checkpoints", "dataset"}


@dataclass(frozen=True)
class RunFolder:
    """A run directory (`spec/formats.md`)."""

    path: Path

    @property
    def events(self) -> Path:
        """events.jsonl."""
        return self.path / "events.jsonl"

    @property
    def model(self) -> Path:
        """The result."""
        return self.path / "model"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's folder."""
        return self.path / "tokenizer"

    @cached_property
    def config(self) -> TrainingConfig:
        """The resolved config."""
        return configs.load(self.path / "config.yaml")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """provenance.json."""
        found: dict[str, Any] = jsontext.loads((self.path / "provenance.json").read_bytes())
        return found

    @property
    def base(self) -> Path | None:
        """The model folder that the training starts from; None from scratch."""
        return None if self.config.model_id == "scratch" else Path(self.provenance["base_model"]["path"])

    def traces(self, split: str) -> Iterator[dict[str, Any]]:
        """The traces of a split (`train` or `eval`), in order."""
        path = self.path / "data" / f"{split}.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            for line in file:
                yield jsontext.loads(line)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first; a partial one does not bear the name."""
        return sorted((self.path / "checkpoints").glob("step-*"))

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be continued exactly."""
        kept = self.config.model_dump(mode="json", exclude=FREE_TO_CHANGE)
        digests = {name: self.provenance[name]["digest"] for name in ("train", "eval", "tokenizer", "base_model")}
        return {"config": kept, **digests}


def create(
    path: Path,
    config: TrainingConfig,
    splits: dict[str, Iterable[bytes]],
    dataset: dict[str, Any],
    device: str,
) -> RunFolder:
    """Write a run directory that is ready to be trained.

    Args:
        path: a folder that does not exist yet, or is empty.
        config: as resolved.
        splits: lines of `train` and `eval`, traces as exported.
        dataset: its manifest's key and digest, for the provenance.
        device: what was asked for.

    Raises:
        Conflict: the folder holds something already.
        NotFound: the base model's folder is not there.
        BadInput: it holds no tokenizer.
    """
    if path.exists() and any(path.iterdir()):
        what = "a run" if (path / "config.yaml").exists() else "other files"
        raise Conflict(
            f"{path} holds {what} already.",
            hint="Name another folder by --output, or go on with that run: add --resume.",
        )
    base = None if config.model_id == "scratch" else Path(config.model_id).expanduser().resolve()
    if base is not None and not base.is_dir():
        raise NotFound(
            f"There is no model folder {base}.",
            hint="model_id is `scratch` or a folder with config.json, *.safetensors and tokenizer.json.",
        )
    path.mkdir(parents=True, exist_ok=True)
    with removed_on_error(path):
        return _fill(RunFolder(path), config, base, splits, dataset, device)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Take a run directory away again if the block fails: nothing was trained in it."""
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _fill(
    folder: RunFolder,
    config: TrainingConfig,
    base: Path | None,
    splits: dict[str, Iterable[bytes]],
    dataset: dict[str, Any],
    device: str,
) -> RunFolder:
    path = folder.path
    for split, lines in splits.items():
        with store.whole(path / "data" / f"{split}.jsonl") as file:
            file.writelines(lines)
    _write_tokenizer(folder, config, base)
    provenance = {
        "dataset": dataset,
        **{split: {"digest": store.digest(path / "data" / f"{split}.jsonl")} for split in splits},
        "tokenizer": {"digest": tokenizer.Folder(folder.tokenizer).digest},
        "template": {"name": config.data.template, "digest": _template_digest(config)},
        "base_model": {"path": str(base), "digest": _model_digest(base)} if base else {"digest": None},
        "packages": packages(),
        "git": _git(),
        "device": device,
        "seed": config.seed,
        "command": sys.argv,
    }
    with store.whole(path / "provenance.json") as file:
        file.write(jsontext.dumps(provenance))
    # The config comes last: a folder with one is ready to be trained.
    with store.whole(path / "config.yaml") as file:
        file.write(configs.dump(config).encode())
    return folder


def reopen(path: Path, config: TrainingConfig) -> RunFolder:
    """Open a run directory to go on with it.

    Raises:
        NotFound: there is no run.
        Conflict: it was started with another config; each difference is named.
    """
    if not (path / "config.yaml").exists():
        raise NotFound(f"{path} holds no run to go on with.", hint="Start it without --resume.")
    folder = RunFolder(path)
    asked = _flat(config.model_dump(mode="json", exclude=FREE_TO_CHANGE))
    stored = _flat(folder.config.model_dump(mode="json", exclude=FREE_TO_CHANGE))
    changed = [f"{key}: {stored[key]!r} there, {asked[key]!r} asked" for key in stored if stored[key] != asked[key]]
    if changed:
        raise Conflict(
            f"{path} was started with another config:\n  " + "\n  ".join(changed),
            hint="Resume with the config that it was started with, or start a new run in another folder.",
        )
    return folder


def packages() -> dict[str, str]:
    """Versions of everything whose change may change the bits."""
    found = {"tunix-rt": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _write_tokenizer(folder: RunFolder, config: TrainingConfig, base: Path | None) -> None:
    kind = config.tokenizer.kind
    if kind == "auto":
        kind = "model" if base else "character"
    if kind != "model":
        if base is not None:
            raise BadInput(
                f"tokenizer.kind {kind} would train a new tokenizer, which does not match the model in {base}.",
                hint="Leave tokenizer.kind out: the model's own is used.",
            )
        tokenizer.train(_texts(folder), kind, config.tokenizer.vocab_size, folder.tokenizer)
        return
    assert base is not None, "the config refuses a tokenizer of its own from scratch"
    found = tokenizer.Folder(base)  # says what is wrong with it before anything is copied
    folder.tokenizer.mkdir(parents=True, exist_ok=True)
    for name in tokenizer.FILES:
        if (base / name).exists():
            with store.whole(folder.tokenizer / name) as file:
                file.write((base / name).read_bytes())
    # A base may name its stop tokens in config.json alone, which is no part of the tokenizer.
    if not (base / "generation_config.json").exists():
        with store.whole(folder.tokenizer / "generation_config.json") as file:
            file.write(jsontext.dumps({"eos_token_id": list(found.stop)}))


def _texts(folder: RunFolder) -> Iterator[str]:
    """What a trained tokenizer must express: both completions, so that it does not depend on the template."""
    for trace in folder.traces("train"):
        yield trace["prompt"] + "\n"
        for template in ("reasoning", "answer"):
            yield render.completion(trace, template)


def _template_digest(config: TrainingConfig) -> str:
    sample = {"steps": [{"content": "\x01"}, {"content": "\x02"}], "final_answer": "\x03"}
    return "sha256:" + hashlib.sha256(render.completion(sample, config.data.template).encode()).hexdigest()


def _model_digest(base: Path) -> str:
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


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return found
