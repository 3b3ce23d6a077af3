"""`tunix-rt traces`: import, generate, find, score and compare traces."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import WrongUsage
from tunix_rt.cli import door, show
from tunix_rt.cli.trace_import import import_
from tunix_rt.traces.format import NO_SOURCE


@click.group()
def traces() -> None:
    """Immutable reasoning traces, stored once by content."""


traces.add_command(import_)


# --- bringing in ------------------------------------------------------------------------------------------------


@traces.command()
@click.argument("task")
@click.option("--count", type=click.IntRange(1, 1_000_000), required=True, help="How many.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same traces."
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="See: tunix-rt traces sources")
@show.json_option
@click.pass_obj
def generate(obj: dict[str, Any], task: str, count: int, seed: int, options: tuple[str, ...], as_json: bool) -> None:
    """Generate traces of TASK, a built-in or installed source, and store them."""
    body = {"source": task, "count": count, "seed": seed, "options": dict(_option(text) for text in options)}
    try:
        report = _call(obj, "POST", "/api/traces/generate", json=body)
    except KeyboardInterrupt:
        show.say("Stopped. What was stored is kept: the same command again makes the rest.")
        raise
    if as_json:
        show.document(report)
        return
    click.echo(f"{report['created']:,} created, {report['already_present']:,} already present")
    show.say(f"Next: tunix-rt datasets build NAME --source {task} --split eval=0.1")


def _option(text: str) -> tuple[str, Any]:
    key, value = _pair("--option", text)
    try:
        return key, jsontext.loads(value)
    except jsontext.NotJson:
        return key, value


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise WrongUsage(f"{option} {text!r} is not KEY=VALUE.")
    return key, value


@traces.command()
@click.option("--stored", is_flag=True, help="The sources of the stored traces instead, with their counts.")
@show.json_option
@click.pass_obj
def sources(obj: dict[str, Any], stored: bool, as_json: bool) -> None:
    """List the sources of generated traces and their options."""
    if stored:
        _stored_sources(obj, as_json)
        return
    found = _call(obj, "GET", "/api/traces/sources")["data"]
    if as_json:
        show.document(found)
        return

    def options(source: dict[str, Any]) -> str:
        fields = source["options"].get("properties", {})
        return ", ".join(f"{key}={field.get('default', '?')}" for key, field in fields.items())

    rows = [(source["name"], options(source), source["problem"] or source["description"]) for source in found]
    show.table(["SOURCE", "OPTIONS", "WHAT IT IS"], rows)


def _stored_sources(obj: dict[str, Any], as_json: bool) -> None:
    answer = _call(obj, "GET", "/api/traces/source-counts")
    counts = answer["data"]
    if as_json:
        show.document(counts)
        return
    rows = [(show.printable(each["source"] or NO_SOURCE), f"{each['count']:,}") for each in counts]
    show.table(["SOURCE", "TRACES"], rows, right=["TRACES"])
    if rest := answer["total"] - sum(each["count"] for each in counts):
        show.say(f"… and {rest:,} traces of less frequent sources")
    if any(each["source"] is None for each in counts):
        show.say("Give those without a source one: tunix-rt traces set-source NAME --source none")


# --- finding ----------------------------------------------------------------------------------------------------


def _filtering(command: Any) -> Any:
    """Add the filters of the API as options; they arrive as keywords of the API's own names."""
    for option in (
        click.option("--source", help="Of this source; none: without one. See: tunix-rt traces sources --stored"),
        click.option("--q", "-q", help="Words that all occur in prompt or answer."),
        click.option("--meta", multiple=True, metavar="KEY=VALUE", help="A top-level key of meta; may be repeated."),
        click.option("--min-steps", type=click.IntRange(min=0), help="At least so many steps."),
        click.option("--max-steps", type=click.IntRange(min=0), help="At most so many steps."),
        click.option("--created-after", metavar="TIME", help="Later than; 2026-01-31 or 2026-01-31T12:00:00Z."),
        click.option("--created-before", metavar="TIME", help="Earlier than."),
    ):
        command = option(command)
    return command


def _query(meta: tuple[str, ...], filters: dict[str, Any]) -> dict[str, Any]:
    pairs = {f"meta.{key}": value for key, value in (_pair("--meta", text) for text in meta)}
    return pairs | {key: value for key, value in filters.items() if value is not None}


@traces.command(name="list")
@_filtering
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@show.json_option
@click.pass_obj
def list_(obj: dict[str, Any], /, limit: int, meta: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """List traces, newest first."""

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, "/api/traces", limit, _query(meta, filters))]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if not found:
        show.say("No trace matches. Bring some in: tunix-rt traces import FILE, or tunix-rt traces generate TASK")
        return
    rows = [
        (row["id"], row["created_at"][:19] + "Z", row["source"] or "", row["step_count"], *_previews(row))
        for row in found
    ]
    show.table(["ID", "CREATED", "SOURCE", "STEPS", "PROMPT", "ANSWER"], rows, right=["STEPS"])


def _previews(row: dict[str, Any]) -> tuple[str, str]:
    one = [" ".join(row[key].split()) for key in ("prompt_preview", "answer_preview")]
    prompt, answer = (text if len(text) <= 60 else text[:59] + "…" for text in one)
    return prompt, answer


@traces.command(name="show")
@click.argument("id")
@show.json_option
@click.pass_obj
def show_(obj: dict[str, Any], id: str, as_json: bool) -> None:
    """Show a whole trace."""
    trace = _call(obj, "GET", f"/api/traces/{door.quote(id)}")
    if as_json:
        show.document(trace)
        return
    click.secho(trace["id"], bold=True)
    click.echo(f"{trace['created_at']}  {show.printable(trace['source'] or 'no source')}  {trace['digest']}\n")
    click.echo(show.printable(trace["prompt"]) + "\n")
    for step in trace["steps"]:
        click.echo(show.printable(f"  {step['i']:>3} {step['type']}: {step['content']}"))
        if step["meta"]:
            click.secho(show.printable(f"      {jsontext.dumps(step['meta']).decode()}"), dim=True)
    click.echo("\n" + click.style("Answer: ", bold=True) + show.printable(trace["final_answer"]))
    if trace["meta"]:
        click.secho(show.printable(f"meta: {jsontext.dumps(trace['meta']).decode()}"), dim=True)
    for score in trace["scores"]:
        click.echo(f"score ({score['criteria']}): {score['score']}")


@traces.command()
@_filtering
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file; left out: stdout.")
@show.json_option
@click.pass_obj
def export(obj: dict[str, Any], /, output: Path | None, meta: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """Export traces as JSONL, oldest first."""

    async def work(write: Callable[[bytes], object]) -> int:
        count = 0
        async with (
            door.client(obj["url"]) as api,
            door.stream(api, "/api/traces/export.jsonl", params=_query(meta, filters)) as chunks,
        ):
            async for chunk in chunks:
                write(chunk)
                count += chunk.count(b"\n")
        return count

    if output is None:
        door.run(work(sys.stdout.buffer.write))
        sys.stdout.buffer.flush()
        return
    with store.whole(output) as file:
        count = door.run(work(file.write))
    if as_json:
        show.document({"file": str(output), "count": count})
    else:
        click.echo(f"{count:,} traces in {output}")


# --- looking at some --------------------------------------------------------------------------------------------


@traces.command()
@click.argument("id")
@click.option("--criteria", default="baseline", show_default=True)
@show.json_option
@click.pass_obj
def score(obj: dict[str, Any], id: str, criteria: str, as_json: bool) -> None:
    """Score a trace."""
    found = _call(obj, "POST", f"/api/traces/{door.quote(id)}/score", json={"criteria": criteria})
    if as_json:
        show.document(found)
        return
    click.secho(f"{found['score']}", bold=True)
    for key, value in found["details"].items():
        click.echo(f"  {key}: {value}")


@traces.command()
@click.argument("a")
@click.argument("b")
@show.json_option
@click.pass_obj
def compare(obj: dict[str, Any], a: str, b: str, as_json: bool) -> None:
    """Compare two traces step by step; what differs is marked word by word."""
    found = _call(obj, "GET", "/api/traces/compare", params={"base": a, "other": b})
    if as_json:
        show.document(found)
        return
    for name in ("base", "other"):
        trace = found[name]["trace"]
        answer = show.printable(trace["final_answer"])
        click.echo(f"{name}: {trace['id']}  score {found[name]['baseline']}  {len(trace['steps'])} steps  → {answer}")
    same = [f"{'the same' if found[f'same_{part}'] else 'another'} {part}" for part in ("prompt", "answer")]
    click.echo(", ".join(same) + "\n")
    for pair in found["steps"]:
        _show_pair(pair, found["base"]["trace"]["steps"], found["other"]["trace"]["steps"])


def _show_pair(pair: dict[str, Any], base: list[Any], other: list[Any]) -> None:
    places = [("" if place is None else str(place + 1)).rjust(3) for place in (pair["base"], pair["other"])]
    if pair["words"] is not None:
        spans = pair["words"]
    else:
        steps, place = (other, pair["other"]) if pair["base"] is None else (base, pair["base"])
        spans = [{"op": pair["op"], "text": steps[place]["content"]}]
    click.echo(" ".join(places) + "  " + "".join(_marked(span["op"], show.printable(span["text"])) for span in spans))


def _marked(op: str, text: str) -> str:
    if op == "equal":
        return text
    if not sys.stdout.isatty():  # without colours, as `git diff --word-diff` writes it
        return f"[-{text}-]" if op == "delete" else f"{{+{text}+}}"
    return click.style(text, fg="red", strikethrough=True) if op == "delete" else click.style(text, fg="green")


@traces.command(name="set-source")
@click.argument("name", metavar="SOURCE")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filtering
@click.option("--all", "every", is_flag=True, help="All stored traces.")
@show.json_option
@click.pass_obj
def set_source(
    obj: dict[str, Any],
    /,
    name: str,
    ids: tuple[str, ...],
    every: bool,
    meta: tuple[str, ...],
    as_json: bool,
    **filters: Any,
) -> None:
    """Set the source of stored traces: of those with the IDs, or of all that match the filters.

    SOURCE none takes the source away; --source none means the traces that have none.
    """
    chosen = {key: value for key, value in filters.items() if value is not None}
    if meta:
        chosen["meta"] = dict(_pair("--meta", text) for text in meta)
    if bool(ids) + bool(chosen) + every != 1:
        raise WrongUsage(
            "Say which traces: either IDs, or filters, or --all.",
            hint="Those without a source, say: tunix-rt traces set-source NAME --source none",
        )
    body = {"source": name} | ({"ids": list(ids)} if ids else {"filters": chosen})
    change = _call(obj, "POST", "/api/traces/set-source", json=body)
    if as_json:
        show.document(change)
        return
    click.echo(f"{change['changed']:,} changed, {change['unchanged']:,} had this source already")
    if not change["changed"] and not change["unchanged"]:
        show.say("No trace matches. See what there is: tunix-rt traces sources --stored")


@traces.command()
@click.argument("id")
@show.json_option
@click.pass_obj
def delete(obj: dict[str, Any], id: str, as_json: bool) -> None:
    """Delete a trace that no data set holds."""

    async def work() -> str:
        async with door.client(obj["url"]) as api:
            found: str = (await door.call(api, "GET", f"/api/traces/{door.quote(id)}"))["id"]
            await door.call(api, "DELETE", f"/api/traces/{found}")
            return found

    found = door.run(work())
    if as_json:
        show.document({"deleted": found})
    else:
        click.echo(f"Deleted {found}")


def _call(obj: dict[str, Any], method: str, path: str, **request: Any) -> Any:
    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, method, path, **request)

    return door.run(work())
