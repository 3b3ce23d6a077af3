"""The run directory before training: config, data, tokenizer and provenance, written once, read by every engine."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.training import config as configs
from tunix_rt.training import provenance, render, tokenizer
from tunix_rt.training.config import TrainingConfig

START = "start"
"""Folder of the checkpoint that a forked run starts from."""
FREE_TO_CHANGE = {"eval_every_steps", "samples", "checkpoint_every_steps", "keep_checkpoints", "dataset", "mesh"}


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
        """provenance.json.

        Raises:
            NotFound: it is not there.
            BadInput: it is not what was written.
        """
        path = self.path / "provenance.json"
        try:
            found: dict[str, Any] = jsontext.loads(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"There is no {path}.", hint="Start the run anew in another folder.") from None
        return found

    @property
    def base(self) -> Path | None:
        """The model folder that the training starts from; None from scratch."""
        return None if self.config.model_id == "scratch" else Path(self.provenance["base_model"]["path"])

    @property
    def start(self) -> Path | None:
        """The checkpoint of another run whose parameters are the start (`fork.fork`); None for most."""
        origin = self.provenance.get("forked_from")
        return self.path / START if origin else None

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
        return sorted((self.path / "checkpoints").glob("step-*"), key=lambda path: (len(path.name), path.name))

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be continued exactly."""
        kept = self.config.model_dump(mode="json", exclude=FREE_TO_CHANGE)
        digests = {name: self.provenance[name]["digest"] for name in ("train", "eval", "tokenizer", "base_model")}
        origin = self.provenance.get("forked_from")
        return {"config": kept, **digests} | ({"forked_from": origin["digest"]} if origin else {})


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
    with removed_on_error(path):
        return fill(path, config, splits, dataset, device, base)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Take a run directory away again if the block fails: nothing was trained in it."""
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def fill(
    path: Path,
    config: TrainingConfig,
    splits: Mapping[str, Iterable[bytes]],
    dataset: Mapping[str, Any],
    device: str,
    base: Path | None,
    also: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Write a run directory that is ready to be trained, in a folder that may hold `logs/` already.

    What an attempt that was killed here left half-written is removed first; `logs/` stays.

    Args:
        path: the folder; made where it does not exist.
        config: as resolved; its `model_id` may be a bare name.
        splits: lines of `train` and `eval` (none: empty), traces as exported; taken one at a time.
        dataset: its manifest's key and digest, for the provenance.
        device: what was asked for.
        base: the base model's folder; None from scratch.
        also: what else the provenance shall say.

    Raises:
        Conflict: the folder holds a run that is ready to be trained, or was.
        NotFound: the base model's folder is not there.
        BadInput: it holds no tokenizer.
        DiskFull: the next call begins anew.
    """
    if base is not None and not base.is_dir():
        raise NotFound(
            f"There is no model folder {base}.",
            hint="model_id is `scratch` or a folder with config.json, *.safetensors and tokenizer.json.",
        )
    folder = RunFolder(path)
    _clear(path)
    for split, lines in splits.items():
        with store.whole(path / "data" / f"{split}.jsonl") as file:
            file.writelines(lines)
    _write_tokenizer(folder, config, base)
    digests = {
        "dataset": dict(dataset),
        **{split: {"digest": store.digest(path / "data" / f"{split}.jsonl")} for split in splits},
        "tokenizer": {"digest": tokenizer.Folder(folder.tokenizer).digest},
    }
    with store.whole(path / "provenance.json") as file:
        file.write(jsontext.dumps(digests | provenance.document(config, base, device) | dict(also or {})))
    # The config comes last: a folder with one is ready to be trained.
    with store.whole(path / "config.yaml") as file:
        file.write(configs.dump(config).encode())
    return folder


def continue_from(path: Path, source: Path, run: str, device: str | None = None) -> RunFolder:
    """Prepare a run directory that goes on where another one's newest checkpoint stands, or from its start.

    All its checkpoints come along: the best may become the result, and one before a damaged one is needed.

    Files of `source` are linked where the file system can, else copied: none of them is ever changed in place (a
    checkpoint, a tokenizer and the data are written once and only removed), which is why events.jsonl stays behind.

    Args:
        path: the folder, as in `fill`.
        source: the run directory to go on from; it stays as it is.
        run: what that run is called, for the provenance.
        device: what was asked for; None: what `source` was asked for.

    Raises:
        Conflict: `path` holds a run that is ready to be trained, or was.
        NotFound: `source` holds no run.
        DiskFull: the next call begins anew.
    """
    old = RunFolder(source)
    if not (source / "config.yaml").exists():
        raise NotFound(f"{source} holds no run to go on from.", hint="Start a new run.")
    known = {**old.provenance, "retried_from": run}
    _clear(path)
    for part in (source / "data", old.tokenizer, source / START, *old.checkpoints()):
        link_all(part, path / part.relative_to(source))
    with store.whole(path / "provenance.json") as written:
        written.write(jsontext.dumps(known if device is None else {**known, "device": device}))
    with store.whole(path / "config.yaml") as written:
        written.write((source / "config.yaml").read_bytes())
    return RunFolder(path)


def _clear(path: Path) -> None:
    """Make the folder, or remove what a killed attempt left in it."""
    if (path / "config.yaml").exists():
        raise Conflict(f"{path} holds a run already.", hint="Go on with it, or take another folder.")
    path.mkdir(parents=True, exist_ok=True)
    for left in path.iterdir():
        if left.name == "logs":
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def link_all(source: Path, target: Path) -> None:
    """Give a folder's files a second name under `target`, or copy them where the file system has none to give."""
    for file in sorted(inner for inner in source.rglob("*") if inner.is_file()):
        _link(file, target / file.relative_to(source))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with store.whole(target) as written, source.open("rb") as file:
            shutil.copyfileobj(file, written, 2**20)
    else:
        store.sync_folder(target.parent)


def reopen(path: Path, config: TrainingConfig) -> RunFolder:
    """Open a run directory to go on with it.

    Raises:
        NotFound: there is no run.
        Conflict: it was started with another config; each difference is named.
    """
    if not (path / "config.yaml").exists():
        raise NotFound(f"{path} holds no run to go on with.", hint="Start it without --resume.")
    folder = RunFolder(path)
    asked = configs.flat(config.model_dump(mode="json", exclude=FREE_TO_CHANGE))
    stored = configs.flat(folder.config.model_dump(mode="json", exclude=FREE_TO_CHANGE))
    changed = [f"{key}: {stored[key]!r} there, {asked[key]!r} asked" for key in stored if stored[key] != asked[key]]
    if changed:
        raise Conflict(
            f"{path} was started with another config:\n  " + "\n  ".join(changed),
            hint="Resume with the config that it was started with, or go on from its parameters in a new run: "
            f"tunix-rt train CONFIG --fork {path} --output NEW",
        )
    return folder


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
