"""`tunix-rt runs show`, `artifacts`, `metrics`: what became of a run, and what it left."""

import hashlib
import sys
import textwrap
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import click

from tunix_rt.base import store
from tunix_rt.base.errors import Failed, NotFound, WrongUsage, cut, nearest
from tunix_rt.cli import ansi, door, show
from tunix_rt.cli.evaluations import progress
from tunix_rt.cli.run_list import COLOURS, figure
from tunix_rt.training import config
from tunix_rt.training.config import TrainingConfig

TAIL_LINES = 20


# --- show -------------------------------------------------------------------------------------------------------


@click.command(name="show")
@click.argument("run")
@show.json_option
@click.pass_obj
def show_(obj: dict[str, Any], run: str, as_json: bool) -> None:
    """Show run RUN: its history, its figures, and the end of what it printed."""

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "GET", f"/api/tunix/runs/{door.quote(run)}")

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    click.secho(found["run_id"], bold=True)
    click.echo(f"  status     {click.style(found['status'], fg=COLOURS.get(found['status']))}")
    for name, value in _about(found):
        click.echo(f"  {name:<11}{show.printable(value)}")
    _history(found["events"])
    if found["metrics"]:
        click.secho("\nfigures", bold=True)
        for name, value in found["metrics"].items():
            click.echo(f"  {show.printable(name)} {figure(value)}")
    for stream in ("stdout", "stderr"):
        _tail(stream, found[stream], run)


def _about(found: dict[str, Any]) -> list[tuple[str, str]]:
    progress = found["progress"]
    done = "" if progress is None else f"step {progress['step']} of {progress['total_steps']}"
    if progress is not None and progress["eta_seconds"] is not None and found["completed_at"] is None:
        done += f", {show.seconds(progress['eta_seconds'])} left"
    limit = found["timeout_seconds"]
    rows = {
        "because": found["status_reason"],
        "crashed": found["crash_reason"],
        "exit code": found["exit_code"],
        "dataset": found["dataset_key"],
        "model": found["model_id"],
        "engine": f"{found['engine']} ({found['mode']})",
        "attempt": f"{found['attempt']} of {found['max_attempts']}",
        "worker": found["worker"],
        "created": found["created_at"],
        "waited": None if found["wait_seconds"] is None else show.seconds(found["wait_seconds"]),
        "started": found["started_at"],
        "completed": found["completed_at"],
        "duration": None if found["duration_seconds"] is None else show.seconds(found["duration_seconds"]),
        "limit": None if limit is None else show.seconds(limit),
        "progress": done,
        "score": None if found["score"] is None else figure(found["score"]),
        "evaluation": _evaluation(found),
        "retry of": found["retry_of"],
        "config": _chosen(found["config"]),
    }
    return [(name, str(value)) for name, value in rows.items() if value not in (None, "")]


def _evaluation(found: dict[str, Any]) -> str | None:
    """Where the evaluation of a run is; nothing of one that has no model to evaluate."""
    evaluation = found.get("evaluation")
    if evaluation is None or (
        evaluation["state"] == "none" and (found["mode"], found["status"]) != ("local", "completed")
    ):
        return None
    return progress(evaluation, found["run_id"])


def _chosen(given: dict[str, Any]) -> str:
    """What of a config is not the default, nor shown beside it."""
    usual = config.flat(TrainingConfig().model_dump(mode="json"))
    own = {key: value for key, value in config.flat(given).items() if key not in ("dataset", "model_id", "engine")}
    changed = [f"{key}={value}" for key, value in own.items() if key not in usual or usual[key] != value]
    return " ".join(changed) or "the defaults"


def _history(events: list[dict[str, Any]]) -> None:
    click.secho("\nhistory", bold=True)
    for event in events:
        reason = f"  {show.printable(event['reason'])}" if event["reason"] else ""
        move = f"{event['from'] or 'new'} -> {event['to']}"
        click.echo(f"  {event['time'][:23]}  {move:<30} by {show.printable(event['actor'])}{reason}")


def _tail(stream: str, text: str, run: str) -> None:
    if not text:
        return
    lines = ansi.safe(text, colours=show.colours(sys.stdout)).removesuffix("\n").split("\n")
    more = f" (last {TAIL_LINES} lines; all: tunix-rt runs logs {run})" if len(lines) > TAIL_LINES else ""
    click.secho(f"\n{stream}{more}", bold=True)
    for line in lines[-TAIL_LINES:]:
        click.echo(f"  {line.rstrip(chr(13)).rpartition(chr(13))[2]}")  # of a progress bar, its last state


# --- files ------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.option("--download", "wanted", metavar="PATH", help="Fetch this file of the list.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to; default: its name, here. -: stdout.")
@show.json_option
@click.pass_obj
def artifacts(obj: dict[str, Any], run: str, wanted: str | None, output: Path | None, as_json: bool) -> None:
    """List the files that run RUN left, or fetch one.

    The digest of what is fetched is checked.
    """
    if output is not None and wanted is None:
        raise WrongUsage("-o says where a file goes; name the file: --download PATH.")
    if as_json and str(output) == "-":
        raise WrongUsage("--json and -o - both want stdout; name a file: -o FILE.")
    base = f"/api/tunix/runs/{door.quote(run)}/artifacts"

    async def work() -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        async with door.client(obj["url"]) as api:
            found = (await door.call(api, "GET", base))["data"]
            if wanted is None:
                return found, None
            entry = next((item for item in found if item["path"] == wanted), None)
            if entry is None:
                near = nearest(wanted, [item["path"] for item in found])
                raise NotFound(
                    f"Run {run} has no file {cut(wanted)!r}.{cut(near, 600)}",
                    hint=f"See: tunix-rt runs artifacts {run}",
                )
            async with door.stream(api, f"{base}/{quote(wanted)}") as chunks:
                await _save(chunks, target, entry)
            return found, entry

    target = None if str(output) == "-" else output or Path(PurePosixPath(wanted or "").name)
    found, entry = door.run(work())
    if entry is not None:
        if as_json:
            show.document({"output": str(target), **entry})
        elif target is not None:
            show.say(f"Wrote {target}: {entry['size']:,} bytes, sha256 {entry['sha256']}")
        return
    if as_json:
        show.document(found)
        return
    if not found:
        show.say("No file yet.")
    rows = [[item["path"], item["kind"], item["size"], item["sha256"]] for item in found]
    show.table(["path", "kind", "bytes", "sha256"], rows, right=["bytes"])


async def _save(chunks: Any, target: Path | None, entry: dict[str, Any]) -> None:
    digest = hashlib.sha256()

    async def copy(write: Any) -> None:
        async for chunk in chunks:
            digest.update(chunk)
            write(chunk)
        if digest.hexdigest() != entry["sha256"].removeprefix("sha256:"):
            raise Failed(
                f"{entry['path']} arrived with another digest than the run's list has: {digest.hexdigest()}.",
                hint="Is the run still writing it? Fetch it again when the run is over.",
            )

    if target is None:
        await copy(sys.stdout.buffer.write)
        return
    with store.whole(target) as file:
        await copy(file.write)


# --- figures ----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.option("--key", "keys", multiple=True, help="Only this figure, point by point; may be repeated.")
@click.option("--max-points", type=click.IntRange(8, 100_000), help="Thin each series; its extremes stay.")
@show.json_option
@click.pass_obj
def metrics(obj: dict[str, Any], run: str, keys: tuple[str, ...], max_points: int | None, as_json: bool) -> None:
    """Show the figures of run RUN.

    A line for each, or with --key its points.
    """
    query: dict[str, Any] = {"keys": ",".join(keys)} if keys else {}
    query |= {"max_points": max_points} if max_points else {}

    async def work() -> Any:
        async with door.client(obj["url"]) as api:
            return await door.call(api, "GET", f"/api/tunix/runs/{door.quote(run)}/metrics", params=query)

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    series = found["series"]
    if keys:
        rows = [[key, step, value] for key, points in series.items() for step, value in points]
        show.table(["figure", "step", "value"], rows, right=["step", "value"])
        return
    if not series:
        show.say("No figure yet.")
    show.table(
        ["figure", "points", "first", "last", "least", "most", "last step"],
        [[key, len(points), *_spread(points), points[-1][0]] for key, points in series.items() if points],
        right=["points", "first", "last", "least", "most", "last step"],
    )


def _spread(points: list[list[Any]]) -> list[str]:
    values = [value for _, value in points]
    numbers = [value for value in values if not isinstance(value, str)]  # NaN and the infinities come as texts
    ends = [min(numbers), max(numbers)] if numbers else [None, None]
    return [figure(values[0]), figure(values[-1]), *map(figure, ends)]


# --- samples ----------------------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@show.json_option
@click.pass_obj
def samples(obj: dict[str, Any], run: str, limit: int, as_json: bool) -> None:
    """Show what run RUN answered at its evaluations, the newest first (`samples` of the config)."""

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, f"/api/tunix/runs/{door.quote(run)}/samples", limit, {})]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if not found:
        show.say("No sample yet. A run answers prompts at its evaluations where its config says how many: samples: 2")
    for number, row in enumerate(found):
        if number == 0 or row["step"] != found[number - 1]["step"]:
            click.secho(f"step {row['step']:,}", bold=True)
        click.echo(textwrap.indent(show.printable(row["prompt"]), "  "))
        cut_off = " … (cut off)" if row["finish_reason"] == "length" else ""
        click.echo(textwrap.indent(show.printable(row["output"]) + cut_off, "    "))
