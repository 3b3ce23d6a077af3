"""A version as a folder that a training can start from: its files under their names, as second names of the stored."""

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from tunix_rt.base.store import naming_full_disk, sync_folder
from tunix_rt.registry import content
from tunix_rt.registry.schemas import ModelFile


def folder(home: Path, digest: str, files: Sequence[ModelFile]) -> Path:
    """The folder of a version, made where it is not there; every file's digest is checked, each time.

    Raises:
        Failed: a file is damaged.
        DiskFull: no space, where the file system gives no second names.
    """
    path = home / "registry" / "folders" / digest.removeprefix("sha256:")
    if not path.is_dir():
        with naming_full_disk(path):
            _make(home, path, files)
    for file in files:
        why = content.damage(path / file.path, file)
        if why is not None:
            raise content.damaged(file, why)
    return path


def _make(home: Path, path: Path, files: Sequence[ModelFile]) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        for file in files:
            target = partial / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _name(content.place(home, file), target, file)
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            return  # another worker was faster, and trains from it by now
        sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name(stored: Path, target: Path, file: ModelFile) -> None:
    try:
        os.link(stored, target)
    except FileNotFoundError:
        raise content.damaged(file, "it is missing") from None
    except OSError:  # a file system without second names
        shutil.copyfile(stored, target)
