"""`tunix-rt evaluate`, `compare`, `leaderboard`: scores that say how far they can be trusted."""

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import click
import httpx

from tunix_rt.base.errors import Conflict, WrongUsage
from tunix_rt.cli import door, judging, show
from tunix_rt.cli.time_option import time_option
from tunix_rt.evaluation import files, sidecar
from tunix_rt.evaluation.decoding import Decoded
from tunix_rt.evaluation.schemas import Decoding

EVAL_SET = click.option(
    "--eval-set", "eval_set", metavar="FILE", help="JSONL of items; or the name of an eval set that is stored."
)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := file.read(2**18):
        yield chunk


def _meta(field: str, predictions: Path) -> dict[str, tuple[str, bytes]]:
    """The sidecar of a file of predictions as a field of a form; nothing where it has none."""
    found = sidecar.read(predictions)
    return {} if found is None else {field: (str(sidecar.path_of(predictions)), sidecar.dump(found))}


async def _stored(api: httpx.AsyncClient, eval_set: str) -> dict[str, Any]:
    """The eval set, uploaded where it is a file that the server does not have yet."""
    found: dict[str, Any]
    if not _is_file(eval_set):
        found = await door.call(api, "GET", f"/api/eval-sets/{quote(eval_set, safe='')}")
        return found
    path = Path(eval_set)
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:100]
    with files.opened(path) as file, files.naming(body=path):
        try:
            found = await door.call(
                api, "POST", "/api/eval-sets", params=_given(name=name or None), content=_chunks(file)
            )
        except Conflict:  # the name belongs to another eval set: this one goes without
            file.seek(0)
            found = await door.call(api, "POST", "/api/eval-sets", content=_chunks(file))
    return found


# --- evaluate ---------------------------------------------------------------------------------------------------


@click.command()
@click.option("--eval-set", "eval_set", required=True, metavar="FILE", help="JSONL of items; or a stored one's name.")
@click.option("--predictions", required=True, type=click.Path(path_type=Path), help="JSONL of outputs.")
@click.option("--judge", help="How answers are judged; default: answer_correctness.")
@click.option("--name", help="What the evaluation is called on the board; default: the path of the predictions.")
@click.option("--model", "model_id", help="The model that made the predictions.")
@click.option("--dataset", "dataset_key", help="The data set that it was trained on.")
@click.option("--temperature", type=float, help="How the outputs were decoded, where the file does not say it.")
@click.option("--top-p", type=float)
@click.option("--top-k", type=int)
@click.option("--max-new-tokens", type=int)
@click.option("--samples", type=int, help="Answers an item.")
@click.option("--seed", "decoding_seed", type=int, help="Of the sampling.")
@show.json_option
@click.pass_obj
def evaluate(obj: dict[str, Any], /, eval_set: str, predictions: Path, as_json: bool, **about: Any) -> None:
    """Score predictions against an eval set, and put them on its board.

    A missing prediction counts as wrong; what cannot be scored is left out; both are counted. How the outputs were
    decoded is read from FILE.meta.json beside the predictions, or from their lines, where `generate` wrote them.
    """
    about["name"] = about["name"] or str(predictions.with_suffix(""))[-200:]

    async def work() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with door.client(obj["url"]) as api:
            await judging.check(api, about["judge"])
            with files.opened(predictions) as file:
                stored = await _stored(api, eval_set)
                params = _given(eval_set=stored["digest"], **about, **judging.mode(obj["url"], about["judge"]))
                meta = _meta("meta", predictions)
                form = {"files": {"predictions": (str(predictions), file), **meta}}
                upload = form if meta else {"content": _chunks(file)}
                with files.naming(body=predictions):
                    asked = await door.call(api, "POST", "/api/evaluations", params=params, **upload)
            found = await judging.awaited(api, asked)
            path = f"/api/evaluations/{found['id']}/items"
            items = [row async for row in door.every(api, path, None, {})] if as_json else []
            return found, items

    found, items = door.run(work())
    if as_json:
        fields = ("id", "sample", "score", "extracted", "rule", "reason", "outcome")
        show.document(found | {"items": [{field: item[field] for field in fields} for item in items]})
    else:
        show_evaluation(found)
    _warn(found)


def show_evaluation(found: dict[str, Any]) -> None:
    """Print an evaluation with its scorecard."""
    click.echo(f"{show.printable(found['name'])} on {found['eval_set']} ({found['eval_set_digest'][:19]})")
    note = "" if found["established"] else f"  not established: only {_items(found['n_scored'])}"
    click.echo(f"score {share(found['score'])}  {_counts(found)}{note}")
    click.echo(
        f"missing {found['n_missing']}, unscored {found['n_unscored']}, unknown ids {found['n_unknown']}; "
        f"judge {found['judge']} {found['judge_version']}; {label(found)}"
    )
    if found["sampled"]:
        passed = ", ".join(f"pass@{k} {_figure(one)}" for k, one in found["sampled"]["pass_at"].items())
        click.echo(f"{found['samples']} samples an item: {passed}, majority {_figure(found['sampled']['majority'])}")
    if (overlap := found["contamination"]) is not None:
        clean = overlap["clean"]
        click.echo(
            f"{overlap['n']} items ({share(overlap['share'])}) overlap with training traces; without them "
            f"{share(clean['score'])} {_counts(clean)}"
        )
    if found["n_repeated"]:
        click.echo(f"{_items(found['n_repeated'])} left out: answered more than once")
    if found["held_back"]:
        show.say(
            "It is kept off the board. If it belongs there all the same: "
            f"tunix-rt evaluations waive {str(found['id'])[:13]} --reason WHY"
        )
    rules = ", ".join(f"{rule} {count}" for rule, count in found["rules"].items())
    click.echo(f"answers found by: {rules or 'none was found'}")
    rows = [
        (label, "-" if group["value"] is None else group["value"], *_cells(group))
        for label, groups in found["scorecard"].items()
        for group in groups
    ]
    if rows:
        click.echo()
        show.table(("by", "value", *CELLS), rows, right=CELLS)
    click.echo(f"evaluation {found['id']}")


def _figure(found: dict[str, Any]) -> str:
    return f"{share(found['value'])} ({interval(found['ci'])}, n = {found['n']})"


def label(found: dict[str, Any]) -> str:
    """How an evaluation, a board or a side of a comparison was decoded, in words."""
    return Decoded(Decoding.model_validate(found["decoding"]), found["decoding_digest"]).label


CELLS = ("score", "95 % interval", "n", "missing", "unscored")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return share(row["score"]), interval(row["ci"]), row["n_scored"], row["n_missing"], row["n_unscored"]


def _counts(row: dict[str, Any]) -> str:
    return f"({row['n_correct']} of {row['n_scored']}; 95 % interval {interval(row['ci'])})"


def share(value: float | None) -> str:
    """A share as a person says it."""
    return "none" if value is None else f"{100 * value:.1f} %"


def interval(ci: Sequence[float] | None, sign: str = "") -> str:
    """The interval of a share, in percent."""
    return "none" if ci is None else f"{100 * ci[0]:{sign}.1f} to {100 * ci[1]:{sign}.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2g}" if value > 0 else "0 (below 1e-300)"


def _warn(found: dict[str, Any]) -> None:
    if found["n_missing"]:
        show.say(f"{_items(found['n_missing'])} without a prediction, counted as wrong.")
    if found["n_unknown"]:
        show.say(f"{found['n_unknown']} ids that the eval set does not have{_names(found, 'unknown_ids')}")


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _names(found: dict[str, Any], which: str, shown: int = 3) -> str:
    names = found.get(which, [])  # a worker's judging does not tell them
    more = ", …" if len(names) > shown else ""
    return ": " + ", ".join(show.printable(name) for name in names[:shown]) + more if names else ""


# --- compare ----------------------------------------------------------------------------------------------------


@click.command()
@EVAL_SET
@click.argument("a")
@click.argument("b")
@click.option("--judge", help="How answers are judged; default: answer_correctness. With files only.")
@click.option("--margin", type=click.FloatRange(0, 1, max_open=True), help="A difference that does not matter (0.02).")
@click.option("--seed", type=click.IntRange(min=0), help="Of the bootstrap (0).")
@click.option("--across-decodings", is_flag=True, help="Compare what is known to be decoded differently, too.")
@show.json_option
@click.pass_obj
def compare(
    obj: dict[str, Any],
    eval_set: str | None,
    a: str,
    b: str,
    judge: str | None,
    margin: float | None,
    seed: int | None,
    across_decodings: bool,
    as_json: bool,
) -> None:
    """Compare model B with model A on the same items.

    A and B are files of predictions (with --eval-set; nothing but the eval set is stored), or ids of evaluations.
    """
    settings = _given(margin=margin, seed=seed, across_decodings=across_decodings or None)
    are_files = [_is_file(name) for name in (a, b)]
    if are_files[0] != are_files[1]:
        raise WrongUsage(f"{a} and {b}: one is a file and the other is not.", hint="Give two files, or two ids.")
    if are_files[0] and eval_set is None:
        raise WrongUsage("Files of predictions need their eval set.", hint="Add --eval-set FILE.")
    if not are_files[0] and judge is not None:
        raise WrongUsage("Evaluations are judged already.", hint="Leave out --judge, or give files of predictions.")

    async def work() -> dict[str, Any]:
        async with door.client(obj["url"]) as api:
            found: dict[str, Any]
            if not are_files[0]:
                params = {"base": a, "other": b, **settings}
                found = await door.call(api, "GET", "/api/evaluations/compare", params=params)
                return found
            await judging.check(api, judge)
            with files.opened(Path(a)) as first, files.opened(Path(b)) as second:
                stored = await _stored(api, str(eval_set))
                params = _given(eval_set=stored["digest"], judge=judge, **settings)
                form = {"a": (a, first), "b": (b, second), **_meta("a_meta", Path(a)), **_meta("b_meta", Path(b))}
                with files.naming(a=Path(a), b=Path(b)):
                    found = await door.call(api, "POST", "/api/evaluations/compare", params=params, files=form)
            return found

    found = door.run(work())
    if as_json:
        show.document(found)
    else:
        _show_comparison(found)


def _is_file(name: str) -> bool:
    return Path(name).exists() or "/" in name or name.endswith(".jsonl")


def _show_comparison(found: dict[str, Any]) -> None:
    rows = [
        (key, of["name"], share(of["score"]), interval(of["ci"]), of["n_scored"], label(of))
        for key, of in (("A", found["base"]), ("B", found["other"]))
    ]
    figures = ("score", "95 % interval", "n")
    show.table(("", "name", *figures, "decoding"), rows, right=figures)
    click.echo()
    if found["difference"] is not None:
        click.echo(
            f"difference {100 * found['difference']:+.1f} points (B - A), 95 % interval {interval(found['ci'], '+')}, "
            f"p = {_p(found['p_value'])}, n = {found['n']}"
        )
    established = "" if found["established"] else f" (not established: only {_items(found['n'])})"
    if found["decoding_note"]:
        click.secho(show.printable(found["decoding_note"]), fg="yellow")
    click.secho(f"verdict: B is {VERDICTS[found['verdict']]}{established}", bold=True)
    click.echo(
        f"fixed {found['fixed']}, broken {found['broken']}, unchanged {found['unchanged']}, "
        f"left out as unscored {found['n_unscored']}; margin {100 * found['margin']:g} points"
    )
    for line in filter(None, (found["note"], found["power"])):
        click.echo(line)
    click.echo(f"test: {found['test']}; interval: {found['interval']}")
    if found["items"]:
        click.echo()
        shown = found["items"][:20]
        cells = [
            (item["change"], item["id"], *(_short(text) for text in _answers(item)), _short(item["expected_answer"]))
            for item in shown
        ]
        show.table(("change", "item", "A answered", "B answered", "expected"), cells)
        if len(shown) < found["fixed"] + found["broken"]:
            click.echo(f"… and {found['fixed'] + found['broken'] - len(shown)} more (--json lists them)")


VERDICTS = {
    "better": "better than A",
    "worse": "worse than A",
    "equivalent": "equivalent to A within the margin",
    "inconclusive": "neither shown to differ from A nor to equal it (inconclusive)",
}


def _answers(item: dict[str, Any]) -> tuple[str, str]:
    first, second = (
        "(no prediction)" if item[side]["extracted"] is None else str(item[side]["extracted"])
        for side in ("base", "other")
    )
    return first, second


def _short(text: str, limit: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


# --- leaderboard ------------------------------------------------------------------------------------------------


@click.command()
@EVAL_SET
@click.option("--model", "model_id", help="Only rows of this model; their ranks are those on the whole board.")
@click.option("--dataset", "dataset_key", help="Only rows of models trained on this data set.")
@click.option("--judge", help="Only boards of this judge.")
@time_option("--from", "date_from", help="Only evaluations since then; 2026-01-31 or 2026-01-31T12:00:00Z.")
@time_option("--to", "date_to", help="Only evaluations until then.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Boards at most.")
@click.option("--rows", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Rows of a board at most.")
@show.json_option
@click.pass_obj
def leaderboard(
    obj: dict[str, Any],
    /,
    eval_set: str | None,
    limit: int,
    rows: int,
    as_json: bool,
    **filters: str | None,
) -> None:
    """Show the boards: one for each eval set, judge and decoding. Rows that cannot be told apart share a rank."""
    if eval_set is not None and _is_file(eval_set):
        eval_set = files.digest(files.read_eval_set(Path(eval_set)))
    params = _given(eval_set=eval_set, rows=rows, **filters)

    async def work() -> list[dict[str, Any]]:
        async with door.client(obj["url"]) as api:
            return [board async for board in door.every(api, "/api/tunix/evaluations", limit, params)]

    found = door.run(work())
    if as_json:
        show.document({"boards": found})
        return
    for place, board in enumerate(found):
        if place:
            click.echo()
        _show_board(board)
    if not found:
        show.say("No evaluation yet. Make one: tunix-rt evaluate --eval-set FILE --predictions FILE")


def _show_board(board: dict[str, Any]) -> None:
    click.secho(
        f"{board['eval_set']} ({board['eval_set_digest'][:19]}, {board['n_items']} items), judge {board['judge']} "
        f"{board['judge_version']}, {label(board)}",
        bold=True,
    )
    rows = [
        (_rank(row), row["name"], *_cells(row), _clean(row), _p(row["p_value"]), row["id"]) for row in board["rows"]
    ]
    show.table(("rank", "name", *CELLS, "clean", "p", "evaluation"), rows, right=("rank", *CELLS, "clean", "p"))
    if board["next_row"] is not None:
        click.echo(f"… of {board['n_rows']:,} rows (--rows shows more)")
    click.echo("p: against the first row, paired, Holm over the board. Equal ranks: no row shown to be better.")
    if board["n_older"]:
        click.echo(f"Earlier evaluations of the same names, which do not count: {board['n_older']}")


def _clean(row: dict[str, Any]) -> str:
    """The score without the items that overlap with training traces; `-`: nobody knows the traces."""
    overlap = row["contamination"]
    return "-" if overlap is None else share(overlap["clean"]["score"])


def _rank(row: dict[str, Any]) -> object:
    if row["held_back"]:
        return "held back"
    return row["rank"] if row["established"] else "not established"
