"""`tunix-rt models promote`, `list`, `show`, `alias`, `verify`: the registry from the command line."""

import getpass
import re
import socket
from typing import Any

import click
import httpx

from tunix_rt.base.errors import BadInput, NotFound, nearest
from tunix_rt.cli import door, show
from tunix_rt.cli.lazy import Lazy

COMMANDS = {
    "promote": ("tunix_rt.cli.registry:promote", "Make the model of a completed run a version of the registry."),
    "list": ("tunix_rt.cli.registry:list_", "List the models of the registry."),
    "show": ("tunix_rt.cli.registry:show_", "A model's versions, aliases and their history."),
    "alias": ("tunix_rt.cli.registry:alias", "Point an alias at a version."),
    "pull": ("tunix_rt.cli.pull:pull", "Write a model as a folder that transformers loads."),
    "verify": ("tunix_rt.cli.registry:verify", "Compute every stored digest again."),
    "merge": ("tunix_rt.cli.models:merge", "Make an adapter and its base model one folder."),
    "check": ("tunix_rt.cli.models:check", "Is a result served as it was trained?"),
}


@click.group(cls=Lazy, table=COMMANDS)
def models() -> None:
    """Promote, find and pull models; merge adapters; check that a result is served as it was trained."""


_MODEL = re.compile(r"(?P<name>[^@:/\\]+)(?:@(?P<alias>[^@:/\\]+)|:(?P<version>[^@:/\\]+))?")


def me() -> str:
    """Who is at this terminal, as the registry's histories have it."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"[:200]
    except (OSError, KeyError):  # a container's user without a name
        return socket.gethostname()[:200]


def address(name: str, *parts: str) -> str:
    """The path of a family, or of something below it."""
    return "/".join(["/api/models", *map(door.quote, (name, *parts))])


async def resolved(api: httpx.AsyncClient, text: str) -> tuple[str, str]:
    """The family and the version that NAME, NAME@ALIAS or NAME:VERSION mean now; NAME alone is its newest version.

    Raises:
        BadInput: it is none of these.
        NotFound: there is no such family or alias, or no version yet; whether there is the version is not asked.
    """
    parts = _MODEL.fullmatch(text)
    if parts is None:
        raise BadInput(f"{text!r} names no model.", hint="Write NAME, NAME@ALIAS or NAME:VERSION.")
    name, alias, version = parts["name"], parts["alias"], parts["version"]
    if version is not None:
        return name, version
    family = await door.call(api, "GET", address(name))
    pointing = {one["alias"]: one["version"] for one in family["aliases"]}
    if alias is not None and alias not in pointing:
        raise NotFound(
            f"The model {name} has no alias {alias!r}.{nearest(alias, pointing)}",
            hint=f"Set it: tunix-rt models alias {name} {alias} VERSION",
        )
    if alias is None and not family["versions"]:
        raise NotFound(
            f"The model {name} has no version yet.", hint=f"Promote a run: tunix-rt models promote RUN --name {name}"
        )
    return name, pointing[alias] if alias is not None else family["versions"][0]["version"]


# --- change -----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="The model; made where it is not there.")
@click.option("--version", help="What this version is called; default: the next of 1, 2, 3, …")
@click.option("--alias", help="Point this alias at it: production, say.")
@click.option("--description", help="What the model is for; said once, when it is made.")
@click.option("--reason", help="Why the alias moves; kept in its history.")
@show.json_option
@click.pass_obj
def promote(obj: dict[str, Any], /, run: str, name: str, description: str | None, as_json: bool, **about: Any) -> None:
    """Make the model of the completed run RUN a version of the registry.

    The same model again is the version that it is already.
    """
    body = {"run_id": run, "actor": me()} | {key: value for key, value in about.items() if value is not None}
    family = {"name": name} | ({} if description is None else {"description": description})

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            await door.call(api, "GET", f"/api/tunix/runs/{door.quote(run)}/status")  # before a family is made for it
            await door.call(api, "POST", "/api/models", json=family)
            return await door.call(api, "POST", address(name, "promote"), json=body)

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    click.echo(f"{found['name']}:{found['version']}")
    click.echo(f"  {found['n_files']} files, {found['size']:,} bytes, {found['digest']}")
    show.say(f"Next: tunix-rt models pull {found['name']}:{found['version']}")


@click.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version")
@click.option("--reason", help="Why; kept in its history.")
@show.json_option
@click.pass_obj
def alias(obj: dict[str, Any], name: str, alias: str, version: str, reason: str | None, as_json: bool) -> None:
    """Point ALIAS of model NAME at VERSION; where it pointed before stays in its history."""
    body = {"version": version, "actor": me()} | ({} if reason is None else {"reason": reason})

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "PUT", address(name, "aliases", alias), json=body)

    found = door.run(work())
    if as_json:
        show.document(found)
    else:
        click.echo(f"{name}@{found['alias']} is {name}:{found['version']}")


# --- look -------------------------------------------------------------------------------------------------------


@click.command(name="list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@show.json_option
@click.pass_obj
def list_(obj: dict[str, Any], limit: int, as_json: bool) -> None:
    """List the models of the registry, newest first."""

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, "/api/models", limit, {})]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if not found:
        show.say("No model yet. Promote a run: tunix-rt models promote RUN --name NAME")
    show.table(
        ["name", "versions", "newest", "score", "aliases", "description"],
        [
            [
                row["name"],
                row["version_count"],
                row["versions"][0]["version"] if row["versions"] else "-",
                _score(row["versions"][0]) if row["versions"] else "-",
                _pointing(row),
                row["description"],
            ]
            for row in found
        ],
        right=["versions"],
    )


@click.command(name="show")
@click.argument("name")
@show.json_option
@click.pass_obj
def show_(obj: dict[str, Any], name: str, as_json: bool) -> None:
    """Show the model NAME: its versions, where its aliases point, and how they came there."""

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            family = await door.call(api, "GET", address(name))
            for part in ("versions", "history"):
                if len(family[part]) >= 100:  # the first page; the rest is a list of its own
                    family[part] = [row async for row in door.every(api, address(name, part), None, {})]
            return family

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    click.secho(found["name"], bold=True)
    if found["description"]:
        click.echo(show.printable(found["description"]))
    if not found["versions"]:
        show.say(f"No version yet. Promote a run: tunix-rt models promote RUN --name {name}")
        return
    show.table(
        ["version", "aliases", "score", "run", "dataset", "from", "bytes", "digest", "promoted"],
        [
            [
                row["version"],
                " ".join(row["aliases"]),
                _score(row),
                row["run_id"],
                row["provenance"]["dataset_key"],
                row["provenance"]["model_id"],
                row["size"],
                row["digest"].removeprefix("sha256:")[:12],
                row["created_at"][:19],
            ]
            for row in found["versions"]
        ],
        right=["bytes"],
    )
    if found["history"]:
        click.secho("\naliases", bold=True)
    for move in found["history"]:
        reason = f"  {show.printable(move['reason'])}" if move["reason"] else ""
        moved = f"{move['alias']}: {move['from'] or 'new'} -> {move['to']}"
        click.echo(f"  {move['created_at'][:19]}  {moved:<30} by {show.printable(move['actor'])}{reason}")


def _score(version: dict[str, Any]) -> str:
    """Its newest figure with n and interval; never a bare number."""
    if not version["evaluations"]:
        return "-"
    figure = version["evaluations"][0]
    if figure["score"] is None or figure["ci"] is None:
        return "not scored"
    low, high = (100 * end for end in figure["ci"])
    return f"{100 * figure['score']:.1f} % (n {figure['n_scored']:,}; {low:.1f} to {high:.1f})"


def _pointing(family: dict[str, Any]) -> str:
    return " ".join(f"{one['alias']}={one['version']}" for one in family["aliases"])


# --- verify -----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME[@ALIAS|:VERSION]...")
@show.json_option
@click.pass_obj
def verify(obj: dict[str, Any], names: tuple[str, ...], as_json: bool) -> None:
    """Compute every stored digest of models again, and say which files are damaged.

    NAME alone is all its versions. The exit code is 1 where something is damaged.
    """

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            wanted = list(dict.fromkeys([one for name in names for one in await _versions(api, name)]))
            found = []
            with show.progress() as bar:
                task = bar.add_task("verifying", total=len(wanted), note="")
                for name, version in wanted:
                    bar.update(task, note=f"{name}:{version}")
                    found.append(await door.call(api, "POST", address(name, version, "verify")))
                    bar.advance(task)
            return found

    found = door.run(work())
    if as_json:
        show.document(found)
    else:
        _report(found)
    if not all(one["ok"] for one in found):
        raise click.exceptions.Exit(1)


async def _versions(api: httpx.AsyncClient, text: str) -> list[tuple[str, str]]:
    if "@" in text or ":" in text:
        return [await resolved(api, text)]
    return [(text, row["version"]) async for row in door.every(api, address(text, "versions"), None, {})]


def _report(found: list[dict[str, Any]]) -> None:
    show.table(
        ["version", "files", "bytes", "result"],
        [
            [
                f"{one['name']}:{one['version']}",
                one["n_files"],
                one["size"],
                "whole" if one["ok"] else f"{len(one['damaged'])} damaged",
            ]
            for one in found
        ],
        right=["files", "bytes"],
    )
    for one in found:
        for file in one["damaged"]:
            where = f"{one['name']}:{one['version']} {file['path']}"
            click.secho(f"{show.printable(where)}: {file['problem']} (sha256 {file['sha256']})", fg="red", err=True)
    if not all(one["ok"] for one in found):
        show.say("Promote the run of a damaged version again: what is damaged is stored anew.")
