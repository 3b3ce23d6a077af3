"""`tunix-rt datasets`: build, look at, export, compare and audit data sets."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import yaml

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, WrongUsage
from tunix_rt.cli import door, show
from tunix_rt.cli.contamination import contamination
from tunix_rt.cli.tokens import coloured, parts
from tunix_rt.training.config import DataChoice
from tunix_rt.training.ledger import MEND, Ledger
from tunix_rt.training.render import Row, row
from tunix_rt.training.tokenizer import Folder


@click.group()
def datasets() -> None:
    """Immutable selections of traces, by digest, with their splits."""


datasets.add_command(contamination)


@datasets.command()
@click.argument("name")
@click.option("--version", help="Left out: the next v1, v2, …; the existing one when the content is the same.")
@click.option("--filter", "filters", multiple=True, metavar="K=V", help="q, meta.KEY, min_steps, max_steps, created_…")
@click.option("--source", help="Only traces of this source; none: those without one.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many traces.")
@click.option("--strategy", type=click.Choice(["latest", "random"]), default="latest", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="Of the random selection.")
@click.option("--split", "splits", multiple=True, metavar="NAME=SHARE", help="A held-out split, eval=0.1 say.")
@click.option("--group-by", default="trace", show_default=True, help="Never divided: trace, prompt or meta.KEY.")
@show.json_option
@click.pass_obj
def build(
    obj: dict[str, Any],
    name: str,
    version: str | None,
    filters: tuple[str, ...],
    source: str | None,
    limit: int | None,
    strategy: str,
    seed: int | None,
    splits: tuple[str, ...],
    group_by: str,
    as_json: bool,
) -> None:
    """Build and seal a data set from the stored traces."""
    body: dict[str, Any] = {"name": name, "selection_strategy": strategy, "group_by": group_by}
    body["filters"] = _filters(filters) | ({"source": source} if source is not None else {})
    body["splits"] = {key: _share(key, value) for key, value in (_pair("--split", item) for item in splits)}
    body |= {key: value for key, value in (("version", version), ("limit", limit), ("seed", seed)) if value is not None}

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "POST", "/api/datasets/build", json=body)

    manifest = door.run(work())
    if as_json:
        show.document(manifest)
        return
    _show(manifest)
    show.say(f"Next: tunix-rt train --dataset {manifest['dataset_key']}")


@datasets.command(name="list")
@click.option("--name", help="Versions of this name only.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@show.json_option
@click.pass_obj
def list_(obj: dict[str, Any], name: str | None, limit: int, as_json: bool) -> None:
    """List data sets, newest first."""

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            params = {"name": name} if name else {}
            return [row async for row in door.every(api, "/api/datasets", limit, params)]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if not found:
        show.say("No data set yet. Build one: tunix-rt datasets build NAME --split eval=0.1")
    show.table(
        ["key", "traces", "splits", "digest", "created"],
        [
            [
                item["dataset_key"],
                item["trace_count"],
                _splits(item),
                item["digest"].removeprefix("sha256:")[:12],
                item["created_at"][:19],
            ]
            for item in found
        ],
        right=["traces"],
    )


@datasets.command(name="show")
@click.argument("key")
@show.json_option
@click.pass_obj
def show_(obj: dict[str, Any], key: str, as_json: bool) -> None:
    """Show the manifest of data set KEY."""

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "GET", f"/api/datasets/{door.quote(key)}")

    manifest = door.run(work())
    if as_json:
        show.document(manifest)
    else:
        _show(manifest)


@datasets.command()
@click.argument("key")
@click.option("--format", "name", default="trace", show_default=True, help="trace, messages, prompt-completion, …")
@click.option("--split", help="Only this split.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="A file; default: stdout.")
@show.json_option
@click.pass_obj
def export(obj: dict[str, Any], key: str, name: str, split: str | None, output: Path | None, as_json: bool) -> None:
    """Export data set KEY as JSON Lines."""

    async def work() -> None:
        async with door.client(obj["url"]) as api, _stream(api, key, split, name) as chunks:
            if output is None:
                async for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                return
            with store.whole(output) as file:
                async for chunk in chunks:
                    file.write(chunk)

    door.run(work())
    if output is not None and as_json:
        show.document({"output": str(output)})
    elif output is not None:
        show.say(f"Wrote {output}")


@datasets.command()
@click.argument("base")
@click.argument("other")
@show.json_option
@click.pass_obj
def diff(obj: dict[str, Any], base: str, other: str, as_json: bool) -> None:
    """Show what data set OTHER adds to and removes from BASE."""

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "GET", "/api/datasets/diff", params={"base": base, "other": other})

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if found["same_content"]:
        click.echo("The same content.")
        return
    for sign, kind, colour in (("+", "added", "green"), ("-", "removed", "red")):
        click.secho(f"{sign} {found[f'{kind}_count']} {kind}", fg=colour)
        for identity in found[kind][:10]:
            click.echo(f"    {identity}")
    click.echo(f"~ {found['moved_count']} in another split")
    for move in found["moved"][:10]:
        click.echo(f"    {move['id']}  {move['base']} -> {move['other']}")
    click.echo(f"= {found['common_count']} in both")
    show.table(
        ["per trace", "base min/mean/max", "other min/mean/max"],
        [
            [
                name,
                *(
                    "/".join(f"{found['stats'][side][name][k]:g}" for k in ("min", "mean", "max"))
                    for side in ("base", "other")
                ),
            ]
            for name in found["stats"]["base"]
        ],
    )


@datasets.command()
@click.argument("key")
@click.option("--tokenizer", required=True, type=click.Path(path_type=Path), help="Folder with tokenizer.json.")
@click.option("--max-length", type=click.IntRange(min=8), help="Tokens of a row; default: the longest row.")
@click.option("--overlong", type=click.Choice(["raise", "truncate", "drop"]), default="raise", show_default=True)
@click.option("--template", type=click.Choice(["reasoning", "answer"]), default="reasoning", show_default=True)
@click.option("--split", help="Only this split; default: every row.")
@click.option("--show", "shown", type=click.IntRange(min=0), default=0, help="Print so many rows, token by token.")
@show.json_option
@click.pass_obj
def audit(
    obj: dict[str, Any],
    key: str,
    tokenizer: Path,
    max_length: int | None,
    overlong: str,
    template: str,
    split: str | None,
    shown: int,
    as_json: bool,
) -> None:
    """Account for every row and token of data set KEY; exit 1 when rows cannot be trained."""
    folder = Folder(tokenizer)
    choice = DataChoice.model_validate({"template": template, "max_length": max_length, "overlong": overlong})
    ledger = Ledger(choice, folder.digest)
    examples: list[Row] = []

    async def work() -> None:
        async with door.client(obj["url"]) as api, _stream(api, key, split, "trace") as chunks:
            async for _, line in jsontext.alines(chunks):
                entry = row(jsontext.loads(line or b""), folder, choice)
                ledger.add(entry)
                if isinstance(entry, Row) and len(examples) < shown:
                    examples.append(entry)

    door.run(work())
    document = ledger.document()
    if as_json:
        pieces = [{"id": entry.id, "tokens": parts(entry, folder, ledger.width)} for entry in examples]
        show.document(document | ({"examples": pieces} if shown else {}))
    else:
        for entry in examples:
            click.echo(coloured(entry, folder, ledger.width))
        _ledger(document)
    if not document["ok"]:
        ledger_refusal(ledger, key, as_json)


def ledger_refusal(ledger: Ledger, key: str, as_json: bool) -> None:
    """End with exit code 1; the rows are named on stderr unless the JSON has just named them."""
    if as_json:
        raise click.exceptions.Exit(1)
    ledger.refuse(key)


def _ledger(document: dict[str, Any]) -> None:
    lines, tokens = document["rows"], document["tokens"]
    rejected = sum(lines["rejected"].values())
    held = tokens["supervised"] + tokens["context"] + tokens["padding"]
    show.table(
        ["rows", "count"],
        [
            ["trained", lines["trained"]],
            ["  of them truncated", lines["truncated"]],
            *([f"rejected: {reason}", count] for reason, count in lines["rejected"].items()),
            ["total", lines["total"]],
        ],
        right=["count"],
    )
    click.echo()
    show.table(
        ["tokens", "count", "share of what is computed"],
        [
            *(
                [name, f"{tokens[name]:,}", f"{tokens[name] / held:.1%}" if held else "-"]
                for name in ("supervised", "context", "padding")
            ),
            ["truncated", f"{tokens['truncated']:,}", "-"],
            ["in rejected rows", f"{tokens['rejected']:,}", "-"],
        ],
        right=["count", "share of what is computed"],
    )
    spread = document["lengths"]
    click.echo(
        f"\nTokens a row: {spread['min']} to {spread['max']}, mean {spread['mean']:g}, 95 % up to {spread['p95']}; "
        f"padded to {document['width']}."
    )
    if rejected and document["ok"]:
        show.say(f"{rejected} rows are left out on purpose. To keep them: {MEND['overlong']}.")


def _stream(api: Any, key: str, split: str | None, name: str) -> Any:
    params = {"format": name} | ({"split": split} if split else {})
    return door.stream(api, f"/api/datasets/{door.quote(key)}/export.jsonl", params=params)


async def lines(api: Any, key: str, split: str) -> AsyncIterator[bytes]:
    """The traces of a split as lines, newline included."""
    async with _stream(api, key, split, "trace") as chunks:
        async for _, line in jsontext.alines(chunks):
            yield (line or b"") + b"\n"


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise WrongUsage(f"{option} {text!r} is not key=value.")
    return key, value


def _filters(given: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in (_pair("--filter", item) for item in given):
        if key.startswith("meta."):
            found.setdefault("meta", {})[key.removeprefix("meta.")] = value
        elif key in ("min_steps", "max_steps"):
            found[key] = yaml.safe_load(value)
        else:
            found[key] = value
    return found


def _share(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"--split {name}={text}: the share is a number between 0 and 1.") from None


def _splits(manifest: dict[str, Any]) -> str:
    return ", ".join(f"{name} {split['count']}" for name, split in manifest["splits"].items())


def _show(manifest: dict[str, Any]) -> None:
    stats = manifest["stats"]
    click.secho(manifest["dataset_key"], bold=True)
    for name, value in (
        ("digest", manifest["digest"]),
        ("created", manifest["created_at"]),
        ("traces", manifest["trace_count"]),
        ("splits", _splits(manifest) + (f"  (by {manifest['group_by']})" if manifest["shares"] else "")),
        ("steps", "{min} to {max}, mean {mean:g}".format(**stats["steps"])),
        ("characters", "{min} to {max}, mean {mean:g}".format(**stats["characters"])),
        (
            "selection",
            manifest["selection_strategy"] + (f", seed {manifest['seed']}" if manifest["seed"] is not None else ""),
        ),
        ("filters", jsontext.dumps(manifest["filters"]).decode()),
        ("parent", manifest["parent"] or "-"),
    ):
        click.echo(f"  {name:<11}{show.printable(str(value))}")
