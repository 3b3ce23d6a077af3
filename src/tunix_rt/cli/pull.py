"""`tunix-rt models pull`: a version of the registry as a folder, whole and checked, or not at all."""

import hashlib
import re
from pathlib import Path
from typing import Any

import click
import httpx
from rich.progress import Progress, TaskID

from tunix_rt.base import store
from tunix_rt.base.errors import Conflict, Failed, cut
from tunix_rt.cli import door, show
from tunix_rt.cli.registry import address, resolved
from tunix_rt.training.engines.whole_folder import forced, whole_folder

_PART = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")


@click.command()
@click.argument("model", metavar="NAME[@ALIAS|:VERSION]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The folder; default: NAME-VERSION, here.")
@show.json_option
@click.pass_obj
def pull(obj: dict[str, Any], model: str, output: Path | None, as_json: bool) -> None:
    """Write a model of the registry as a folder that transformers loads.

    NAME alone is its newest version. Every digest is checked. A folder that holds the same already is left as it is;
    one that holds something else is refused.
    """

    async def work() -> tuple[dict[str, Any], Path, bool]:
        async with door.client(obj["url"]) as api:
            name, version = await resolved(api, model)
            manifest = await door.call(api, "GET", address(name, version, "manifest"))
            for path in (f"{name}-{version}", *(file["path"] for file in manifest["files"])):
                _refuse_strange(path)
            target = output or Path(f"{name}-{version}")
            if _holds(target, manifest["files"]):
                return manifest, target, False
            with whole_folder(target.resolve()) as partial, show.progress() as bar:
                task = bar.add_task("pulling", total=manifest["size"], note="")
                for file in manifest["files"]:
                    bar.update(task, note=file["path"])
                    await _fetch(api, address(name, version, "files", file["path"]), partial, file, bar, task)
            return manifest, target, True

    manifest, target, new = door.run(work())
    exact = f"{manifest['name']}:{manifest['version']}"
    if as_json:
        about = {key: manifest[key] for key in ("name", "version", "digest", "kind", "size", "n_files")}
        show.document({"output": str(target), **about, "written": new})
        return
    click.echo(str(target))
    show.say(f"{'Wrote' if new else 'There already:'} {exact}, {manifest['n_files']} files, every digest checked.")
    if manifest["kind"] == "adapter":
        base = manifest["provenance"]["model_id"]
        how = f" (tunix-rt models pull {base})" if ":" in base else ""
        show.say(
            show.printable(f"It is an adapter of {base}{how}. ")
            + f"To load it alone, merge the two: tunix-rt models merge {target} --base DIR --output MERGED"
        )


def _refuse_strange(path: str) -> None:
    """A server may be anybody's: nothing is written outside the folder."""
    if not all(_PART.fullmatch(part) for part in path.split("/")):
        raise Failed(
            f"The server names a file that lies outside the model: {cut(path, 100)!r}.",
            hint="Nothing was written. Is TUNIX_RT_URL a Tunix RT server?",
        )


def _holds(target: Path, files: list[dict[str, Any]]) -> bool:
    """Whether a folder is there with exactly these files.

    Raises:
        Conflict: it holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if there == {file["path"] for file in files} and all(
        store.digest(target / file["path"]) == f"sha256:{file['sha256']}" for file in files
    ):
        return True
    raise Conflict(
        f"{target} is there and holds something else.", hint="Name another folder by --output, or move that one away."
    )


async def _fetch(
    api: httpx.AsyncClient, path: str, folder: Path, file: dict[str, Any], bar: Progress, task: TaskID
) -> None:
    target = folder / file["path"]
    target.parent.mkdir(parents=True, exist_ok=True)
    seen = hashlib.sha256()
    with forced(target) as written:
        async with door.stream(api, path) as chunks:
            async for chunk in chunks:
                seen.update(chunk)
                written.write(chunk)
                bar.advance(task, len(chunk))
    if seen.hexdigest() != file["sha256"]:
        raise Failed(
            f"{file['path']} arrived with another SHA-256 than the version has: {seen.hexdigest()}.",
            hint="Nothing was written. See whether it is damaged in the store: tunix-rt models verify NAME",
        )
