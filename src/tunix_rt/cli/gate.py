"""`tunix-rt gate` and `baselines`: is this model worse than the one that we agreed on, as an exit code."""

from pathlib import Path
from typing import Any

import click

from tunix_rt.base.errors import Failed, WrongUsage
from tunix_rt.cli import door, gate_files, show

EXIT_CODES = {"pass": 0, "fail": 5, "inconclusive": 6}
COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
SHOWN = 20  # items of a table

EVALUATION = click.option("--evaluation", "evaluation_id", metavar="ID", help="An evaluation.")
RUN = click.option("--run", "run_id", metavar="ID", help="A run: its newest evaluation counts.")


def _one_of(evaluation_id: str | None, run_id: str | None) -> dict[str, str]:
    if (evaluation_id is None) == (run_id is None):
        raise WrongUsage("Name an evaluation or a run, one of the two.", hint="Add --evaluation ID, or --run ID.")
    return {"evaluation_id": evaluation_id} if evaluation_id is not None else {"run_id": str(run_id)}


# --- baselines --------------------------------------------------------------------------------------------------


@click.group()
def baselines() -> None:
    """What later evaluations are held against (see `tunix-rt gate`)."""


@baselines.command("set")
@click.argument("name")
@EVALUATION
@RUN
@click.option("--metric", type=click.Choice(["score", "completion_tokens", "latency_s"]), default="score")
@click.option("--direction", type=click.Choice(["higher", "lower"]), help="Which way is good; default: by the metric.")
@click.option("--margin", type=click.FloatRange(min=0), help="A loss up to this does not matter (score: 0.02).")
@show.json_option
@click.pass_obj
def set_baseline(
    obj: dict[str, Any], /, name: str, evaluation_id: str | None, run_id: str | None, as_json: bool, **about: Any
) -> None:
    """Set the baseline NAME to an evaluation, or to the newest one of a run."""
    body = _one_of(evaluation_id, run_id) | {key: value for key, value in about.items() if value is not None}

    async def work() -> dict[str, Any]:
        async with door.client(obj["url"]) as api:
            found: dict[str, Any] = await door.call(
                api, "POST", "/api/regression/baselines", json={"name": name, **body}
            )
            return found

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    click.echo(f"{show.printable(name)} is {show.printable(found['evaluation'])} on {found['eval_set']}")
    click.echo(f"{found['metric']}, {found['direction']} is better, margin {found['margin']:g}")
    show.say(f"Hold a run against it: tunix-rt gate --baseline {name} --run ID")


@baselines.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@show.json_option
@click.pass_obj
def list_baselines(obj: dict[str, Any], limit: int, as_json: bool) -> None:
    """List baselines, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, "/api/regression/baselines", limit, {})]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    columns = ("name", "evaluation", "eval_set", "metric", "direction", "margin", "evaluation_id")
    show.table(columns, [[row[column] for column in columns] for row in found], right=("margin",))
    if not found:
        show.say("No baseline yet. Set one: tunix-rt baselines set NAME --evaluation ID")


# --- gate -------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--baseline", required=True, metavar="NAME", help="What it is held against (`tunix-rt baselines set`).")
@RUN
@EVALUATION
@click.option("--margin", type=click.FloatRange(min=0), help="A loss up to this does not matter; default: as set.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the result as a JUnit file.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a summary for people.")
@show.json_option
@click.pass_obj
def gate(
    obj: dict[str, Any],
    baseline: str,
    run_id: str | None,
    evaluation_id: str | None,
    margin: float | None,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Say whether a model is worse than its baseline by more than a margin.

    Exit codes: 0 it is not (pass), 5 it is (fail), 6 so many items cannot tell (inconclusive).
    """
    body = {"baseline": baseline, **_one_of(evaluation_id, run_id)} | ({} if margin is None else {"margin": margin})

    async def work() -> dict[str, Any]:
        async with door.client(obj["url"]) as api:
            found: dict[str, Any] = await door.call(api, "POST", "/api/regression/check", json=body)
            return found

    found = door.run(work())
    for path, made in ((junit, gate_files.junit), (markdown, gate_files.markdown)):
        if path is not None:
            _write(path, made(found))
    if as_json:
        show.document(found)
    else:
        _show(found)
    return EXIT_CODES[found["verdict"]]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}.", hint="Name another file.") from error


def _show(found: dict[str, Any]) -> None:
    names = show.printable(f"{found['evaluation']['name']} against {found['baseline']['name']}")
    click.secho(f"{found['verdict']}: {names}", bold=True, fg=COLOURS[found["verdict"]])
    click.echo(found["reason"])
    show.table(("figure", "value"), gate_files.figures(found))
    if found["items"]:
        click.echo()
        cells = [
            (item["change"], item["id"], *gate_files.answers(item), item["expected_answer"])
            for item in found["items"][:SHOWN]
        ]
        show.table(("change", "item", "baseline", "this", "expected"), cells)
        left = len(found["items"]) + found["items_left_out"] - len(cells)
        if left:
            click.echo(f"… and {left:,} more (--json lists them)")
    for note in found["notes"]:
        show.say(show.printable(note))
