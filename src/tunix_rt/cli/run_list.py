"""`tunix-rt runs list`: which runs there are, by what they are, by what went in and by how they did."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click
from rich.text import Text

from tunix_rt.base.errors import WrongUsage
from tunix_rt.cli import door, show

SHORT = 13  # characters of a UUIDv7 that are its time in milliseconds
COLOURS = {
    "pending": "yellow",
    "running": "cyan",
    "cancel_requested": "magenta",
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "bright_black",
}
_METRIC = re.compile(r"\s*([^\s<>=!]+)\s*(<=|>=|!=|==|=|<|>)\s*(\S+)\s*")


@click.command(name="list")
@click.option("--status", multiple=True, type=click.Choice(list(COLOURS)), help="In this state; may be repeated.")
@click.option("--dataset", "dataset_key", help="Of this data set.")
@click.option("--model", "model_id", help="Of this model.")
@click.option(
    "--mode",
    type=click.Choice(["local", "ray", "dry-run", "all"]),
    help="Of this kind; default: every run but dry runs.",
)
@click.option("--engine", help="Of this engine.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A key of the config: batch_size=16.")
@click.option("--metric", "metrics", multiple=True, metavar="EXPRESSION", help="'loss<0.5'; with = != < <= > or >=.")
@click.option("--created-after", metavar="TIME", help="Later than; 2026-01-31 or 2026-01-31T12:00:00Z.")
@click.option("--created-before", metavar="TIME", help="Earlier than.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@show.json_option
@click.pass_obj
def list_(
    obj: dict[str, Any],
    /,
    params: tuple[str, ...],
    metrics: tuple[str, ...],
    limit: int,
    as_json: bool,
    **filters: Any,
) -> None:
    """List runs, newest first."""
    literal = [_param(text) for text in params] + [_metric(text) for text in metrics]
    filters |= {name: _moment(name, filters[name]) for name in ("created_after", "created_before") if filters[name]}
    query = {key: value for key, value in filters.items() if value}

    async def work() -> list[Any]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, "/api/tunix/runs", limit, query, literal)]

    found = door.run(work())
    if as_json:
        show.document(found)
        return
    if not found:
        narrowed = "No run is like this." if query or literal else "No run yet."
        show.say(f"{narrowed} Queue one: tunix-rt runs submit CONFIG --dataset KEY")
        if not filters["mode"]:
            show.say("Dry runs are not listed here. See them: tunix-rt runs list --mode dry-run")
    size = short([row["run_id"] for row in found])
    show.table(
        ["id", "status", "dataset", "model", "mode", "created", "duration", "attempt", "step", "loss"],
        [
            [
                row["run_id"][:size],
                status(row["status"]),
                row["dataset_key"],
                row["model_id"],
                row["mode"],
                row["created_at"][:19],
                show.seconds(row["duration_seconds"]),
                row["attempt"],
                figure((row["progress"] or {}).get("step")),
                figure(row["metrics"].get("loss")),
            ]
            for row in found
        ],
        right=["duration", "attempt", "step", "loss"],
    )


def short(ids: Sequence[str]) -> int:
    """How many first characters tell these ids apart; never fewer than the time in them."""
    whole = max((len(name) for name in ids), default=SHORT)
    return next((size for size in range(SHORT, whole) if len({name[:size] for name in ids}) == len(set(ids))), whole)


def status(name: str) -> Text:
    """A status in its colour."""
    return Text(name, style=COLOURS.get(name, ""))


def figure(value: Any) -> str:
    """A figure in four significant digits; `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _moment(option: str, text: str) -> str:
    """A time as the API takes it; one without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUsage(
            f"--{option.replace('_', '-')} {text!r} is not a time. Examples: 2026-01-31, 2026-01-31T12:00:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _param(text: str) -> str:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise WrongUsage(f"--param {text!r} is not NAME=VALUE. Example: --param learning_rate=0.004")
    return f"param.{quote(name, safe='')}={quote(value, safe='')}"


def _metric(text: str) -> str:
    """An expression as the query holds it: `metric.loss%3C=0.5`."""
    found = _METRIC.fullmatch(text)
    if not found:
        raise WrongUsage(f"--metric {text!r} is not NAME, an operator and a number. Example: --metric 'loss<0.5'")
    name, operator, value = found.groups()
    try:
        known = math.isfinite(float(value))
    except ValueError:
        known = False
    if not known:
        raise WrongUsage(f"--metric {text!r}: {value!r} is not a number. Example: --metric 'loss<0.5'")
    operator = "=" if operator == "==" else operator
    return f"metric.{quote(name, safe='')}{quote(operator, safe='=')}{quote(value, safe='')}"
