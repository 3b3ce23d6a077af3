"""`tunix-rt evaluations`: stored evaluations listed, shown item by item, judged again, verified, waived."""

from typing import Any
from urllib.parse import quote

import click

from tunix_rt.cli import door, judging, show
from tunix_rt.cli.evaluate import interval, share, show_evaluation

OUTCOMES = ("correct", "wrong", "missing", "unscored")
SORTS = ("position", "score", "-score", "latency_s", "-latency_s", "completion_tokens", "-completion_tokens")


@click.group()
def evaluations() -> None:
    """Look at evaluations, judge their outputs again, and check that they are what they say."""


def _call(url: str | None, method: str, path: str, **request: Any) -> Any:
    async def work() -> Any:
        async with door.client(url) as api:
            return await door.call(api, method, path, **request)

    return door.run(work())


def _address(evaluation: str, *rest: str) -> str:
    return "/".join(("/api/evaluations", quote(evaluation, safe=""), *rest))


def progress(found: dict[str, Any], run: str) -> str:
    """Where the evaluation of a run is, in words."""
    reason = show.printable(found["reason"] or "")
    again = f"tunix-rt runs evaluate {run[:13]}"
    if found["state"] == "waiting":
        before = f"{found['before']} before it" if found["before"] else "next in the queue"
        return f"waiting, {before}" + (f" ({reason})" if reason else "")
    if found["state"] == "failed":
        return f"failed: {reason.rstrip('.')}. Evaluate it again: {again}"
    if found["state"] == "planned":
        return f"on {found['eval_set']} when it completes"
    if found["state"] == "none":
        return f"none. Evaluate it: {again}"
    return str(found["evaluation_id"] or found["state"])


@evaluations.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@show.json_option
@click.pass_obj
def list_(obj: dict[str, Any], limit: int, as_json: bool) -> None:
    """Evaluations, newest first; what waits, runs or failed is told before them."""

    async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with door.client(obj["url"]) as api:
            made = [row async for row in door.every(api, "/api/evaluations", limit, {})]
            return made, (await door.call(api, "GET", "/api/evaluations/queue"))["data"]

    found, queue = door.run(work())
    if as_json:
        show.document({"evaluations": found, "queue": queue})
        return
    for one in queue:
        show.say(f"Evaluation of run {one['run_id'][:13]} on {one['eval_set']}: {progress(one, one['run_id'])}")
    rows = [
        (
            row["id"],
            row["name"],
            row["eval_set"],
            row["judge"],
            share(row["score"]),
            interval(row["ci"]),
            row["n_scored"],
            row["created_at"],
        )
        for row in found
    ]
    figures = ("score", "95 % interval", "n")
    show.table(("evaluation", "name", "eval set", "judge", *figures, "made"), rows, right=figures)


@evaluations.command("show")
@click.argument("evaluation")
@show.json_option
@click.pass_obj
def show_(obj: dict[str, Any], evaluation: str, as_json: bool) -> None:
    """Evaluation EVALUATION with its scorecard."""
    found = _call(obj["url"], "GET", _address(evaluation))
    if as_json:
        show.document(found)
    else:
        show_evaluation(found)


@evaluations.command()
@click.argument("evaluation")
@click.option("--outcome", type=click.Choice(OUTCOMES))
@click.option("--section")
@click.option("--category")
@click.option("--difficulty")
@click.option("--contaminated/--clean", default=None, help="Whether the item overlaps with a training trace.")
@click.option("--sort", type=click.Choice(SORTS), default="position", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@show.json_option
@click.pass_obj
def items(obj: dict[str, Any], /, evaluation: str, limit: int, as_json: bool, **filters: Any) -> None:
    """The items of evaluation EVALUATION: what was expected, said, found in it, and by which rule."""
    params = {key: value for key, value in filters.items() if value is not None}

    async def work() -> list[dict[str, Any]]:
        async with door.client(obj["url"]) as api:
            return [row async for row in door.every(api, _address(evaluation, "items"), limit, params)]

    found = door.run(work())
    if as_json:
        show.document({"items": found})
        return
    rows = [
        (
            row["id"],
            row["sample"],
            row["outcome"],
            row["expected_answer"],
            "" if row["extracted"] is None else row["extracted"],
            row["rule"] or "",
            row["reason"] or "",
            row["contamination"] or "",
        )
        for row in found
    ]
    show.table(("item", "sample", "outcome", "expected", "found", "rule", "reason", "contamination"), rows)


@evaluations.command()
@click.argument("evaluation")
@click.option("--judge", "name", required=True, help="Whose judgement to add; see: tunix-rt judge list")
@show.json_option
@click.pass_obj
def judge(obj: dict[str, Any], evaluation: str, name: str, as_json: bool) -> None:
    """Judge the stored outputs of EVALUATION by another judge; the old judgement stays."""

    async def work() -> dict[str, Any]:
        async with door.client(obj["url"]) as api:
            params = {"judge": name, **judging.mode(obj["url"], name)}
            asked = await door.call(api, "POST", _address(evaluation, "judge"), params=params)
            return await judging.awaited(api, asked)

    found = door.run(work())
    if as_json:
        show.document(found)
    else:
        show_evaluation(found)


@evaluations.command()
@click.argument("evaluation")
@show.json_option
@click.pass_obj
def verify(obj: dict[str, Any], evaluation: str, as_json: bool) -> None:
    """Compute every figure of EVALUATION again from its items, judge its outputs again, and compare."""
    found = _call(obj["url"], "POST", _address(evaluation, "verify"))
    if as_json:
        show.document(found)
    else:
        click.echo(f"figures of {found['n_items']} items computed again; {found['n_judged']} outputs judged again")
        if found["not_judged"]:
            click.echo(f"not judged again: {found['not_judged']}")
        for row in found["differences"]:
            click.echo(show.printable(f"{row['what']}: stored {row['stored']}, computed {row['computed']}"))
        click.secho("all the same" if found["ok"] else f"{found['n_differences']} differences", bold=True)
    if not found["ok"]:
        raise click.exceptions.Exit(1)


@evaluations.command()
@click.argument("evaluation")
@click.option("--reason", required=True, help="Why it belongs on the board in spite of its contamination; is shown.")
@show.json_option
@click.pass_obj
def waive(obj: dict[str, Any], evaluation: str, reason: str, as_json: bool) -> None:
    """Put EVALUATION on the board in spite of its contamination."""
    found = _call(obj["url"], "POST", _address(evaluation, "waive"), json={"reason": reason})
    if as_json:
        show.document(found)
    else:
        click.echo(f"{found['id']}  on the board: {show.printable(found['waiver'])}")
