"""A run's folder before its process starts: from the database and the store, or from the run that it goes on from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tunix_rt.base.db import Database
from tunix_rt.base.errors import NotFound
from tunix_rt.datasets import seal, service
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.training import config as configs
from tunix_rt.training import folder as folders


@dataclass(frozen=True)
class Registered:
    """A version of the registry that a run starts from; an alias that moves later changes nothing for it.

    Attributes:
        model_id: `name:version`, exact.
        asked: as it was asked for: `name@alias`.
        digest: of the version's content.
    """

    model_id: str
    asked: str
    digest: str


Bases = Callable[[str], Awaitable[Path]]
"""Gives the folder of a version of the registry, by its exact name."""


def is_registered(model_id: str) -> bool:
    """Whether a base model is a version of the registry."""
    return "@" in model_id or ":" in model_id


def model_folder(home: Path, model_id: str) -> Path | None:
    """The folder of a base model that lies under TUNIX_RT_HOME/models; None from scratch.

    Raises:
        NotFound: there is no such model; those that there are stand in the hint.
    """
    if model_id == "scratch":
        return None
    found = home / "models" / model_id
    if not found.is_dir():
        there = sorted(path.name for path in (home / "models").glob("*") if path.is_dir())
        raise NotFound(
            f"There is no model folder {model_id!r} under TUNIX_RT_HOME/models.",
            hint=f"There are: {', '.join(there[:20]) or 'none'}; or train `scratch`, by dimensions.",
        )
    return found


async def prepare(database: Database, home: Path, run: Run, bases: Bases) -> folders.RunFolder:
    """Make a run's folder ready to be trained; one that is ready already, by an earlier attempt, is left as it is.

    Raises:
        Problem: it cannot be trained: the data set lacks a split, the model's folder holds no model or a damaged one.
        DiskFull: the next attempt begins anew.
    """
    path = folder_of(home, run.id)
    base = await bases(run.model_id) if is_registered(run.model_id) else None  # an attempt that goes on needs it too
    if (path / "config.yaml").exists():
        return folders.RunFolder(path)
    if run.retry_of is not None and not run.from_start:
        source = folder_of(home, run.retry_of)
        if (source / "config.yaml").exists():
            return await asyncio.to_thread(folders.continue_from, path, source, str(run.retry_of))
    config = configs.validate(run.config, "the run's config")
    if base is None:
        base = await asyncio.to_thread(model_folder, home, run.model_id)
    async with database.read() as session:
        manifest = service.manifest(await seal.get(session, run.dataset_key)).model_dump(mode="json")
    wanted = {"train": config.data.train_split, "eval": config.data.eval_split}
    loop = asyncio.get_running_loop()
    splits: dict[str, Iterator[bytes]] = {}
    for name, split in wanted.items():
        if name == "train" or split in manifest["splits"]:
            lines = await service.open_export(database, run.dataset_key, "trace", split)
            splits[name] = _bridged(lines, loop)
        else:
            splits[name] = iter(())
    dataset = {name: manifest[name] for name in ("dataset_key", "digest", "splits")}
    also = {"registry": run.provenance["registry"]} if "registry" in run.provenance else {}
    return await asyncio.to_thread(folders.fill, path, config, splits, dataset, "auto", base, also)


def _bridged(lines: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """Lines of the event loop, for a thread that writes them to a file."""

    async def following() -> bytes | None:
        return await anext(lines, None)

    while (line := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
        yield line
