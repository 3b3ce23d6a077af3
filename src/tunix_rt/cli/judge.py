"""`tunix-rt judge`: which judges there are, and what one of them is worth."""

from dataclasses import asdict
from pathlib import Path

import click

from tunix_rt.base.settings import Settings
from tunix_rt.cli import show
from tunix_rt.evaluation import files, judges, sidecar
from tunix_rt.evaluation.decoding import caveat, check_alike, resolve
from tunix_rt.evaluation.judges import listing
from tunix_rt.evaluation.judges.calibrate import Calibration, Figure, LabelLine, calibrate
from tunix_rt.evaluation.judges.pairs import Preferences, preferences
from tunix_rt.evaluation.schemas import Decoding
from tunix_rt.evaluation.statistics import MARGIN


@click.group()
def judge() -> None:
    """See what judges there are; hold one against human labels; ask one which of two outputs is better."""


@judge.command("list")
@show.json_option
def list_judges(as_json: bool) -> None:
    """Show every judge with its parameters; a package that is broken is named."""
    found = listing.listed(Settings())
    if as_json:
        show.document({"judges": [one.model_dump() for one in found]})
        return
    show.table(
        ("judge", "parameters (default)", "what it says"),
        [
            (
                one.name,
                ", ".join(f"{key} ({value.default})" for key, value in one.parameters.items()) or "-",
                " ".join(filter(None, (one.description, one.problem, one.hint))),
            )
            for one in found
        ],
    )
    show.say("With parameters: --judge NAME:key=value,key=value")


@judge.command("calibrate")
@click.option("--labels", required=True, metavar="FILE", type=click.Path(path_type=Path), help="JSONL; see below.")
@click.option("--judge", "name", default=judges.DEFAULT, show_default=True, help="NAME[:key=value,...].")
@click.option("--repeats", type=click.IntRange(1, 100), default=2, show_default=True, help="Times each item is judged.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the bootstrap.")
@show.json_option
def calibrate_judge(labels: Path, name: str, repeats: int, seed: int, as_json: bool) -> None:
    """Compare a judge with human labels.

    A line of labels is {id, prompt, expected_answer, output, label}, the label 1 for right and 0 for wrong; ids are
    unique. Outputs to the same prompt with different labels make the pairs that a judge of pairs is asked about, in
    both orders.
    """
    judges.named(name, Settings())  # refuses one that cannot be had, before the labels are read
    with files.opened(labels) as file, files.naming(body=labels):
        what = "a label {id, prompt, expected_answer, output, label}"
        lines = files.unique_lines(file, LabelLine, what, lambda line: line.id)
    found = calibrate(lines, name, Settings(), repeats, seed)
    if as_json:
        show.document(asdict(found))
    else:
        _show(found)


@judge.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--eval-set", required=True, metavar="FILE", type=click.Path(path_type=Path), help="JSONL of items.")
@click.option("--judge", "name", default="llm", show_default=True, help="NAME[:key=value,...]; one that compares.")
@click.option("--margin", type=click.FloatRange(0, 1, max_open=True), default=MARGIN, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--across-decodings", is_flag=True, help="Compare what is known to be decoded differently, too.")
@show.json_option
def compare_by_judge(
    a: Path, b: Path, eval_set: Path, name: str, margin: float, seed: int, across_decodings: bool, as_json: bool
) -> None:
    """Ask a judge whose output to each item is better: A's or B's, files of predictions.

    Each pair is asked about in both orders; where these disagree it is a tie.
    """
    items = files.read_eval_set(eval_set)
    digest = files.digest(items)
    sides, decodings = [], []
    for path in (a, b):
        with files.opened(path) as file, files.naming(body=path):
            predictions = files.predictions(file)
        described = sidecar.read(path)
        if described is not None:
            sidecar.check(described, str(sidecar.path_of(path)), predictions, str(path), digest)
        sides.append(predictions)
        decodings.append((str(path), resolve(Decoding(), predictions, described, None)))
    if not across_decodings:
        check_alike(*decodings)
    found = preferences(items, sides[0], sides[1], judges.named(name, Settings()), margin, seed)
    note = caveat(*decodings)
    if as_json:
        show.document(asdict(found) | {"decoding_note": note})
    else:
        _show_preferences(found, note)


def _show_preferences(found: Preferences, note: str | None) -> None:
    click.echo(f"{found.judge} {found.version} ({found.digest[:19]}) on {found.n} items; unscored {found.n_unscored}")
    click.echo(f"A preferred {found.a}, B preferred {found.b}, ties {found.ties}")
    click.echo(f"the two orders disagreed on {found.inconsistent} of the ties")
    if found.difference is not None and found.ci is not None and found.p_value is not None:
        low, high = (100 * end for end in found.ci)
        click.echo(
            f"difference {100 * found.difference:+.1f} points (B - A), 95 % interval {low:+.1f} to {high:+.1f}, "
            f"p = {found.p_value:.3g} ({found.test})"
        )
    if note:
        click.secho(show.printable(note), fg="yellow")
    established = "" if found.established else f" (not established: only {found.n} items)"
    click.secho(f"verdict: B is {found.verdict}{established}", bold=True)


def _show(found: Calibration) -> None:
    click.echo(f"{found.judge} {found.version} ({found.digest[:19]}) against {found.n_items} labels")
    click.echo(f"unscored {found.n_unscored}")
    accepted = "accepted {} right and {} wrong, rejected {} right and {} wrong".format(*found.table)
    click.echo(accepted)
    rows = [
        ("agreement", found.agreement, 100, "%"),
        ("Cohen's kappa", found.kappa, 1, ""),
        ("same verdict when repeated", found.repeated, 100, "%"),
        ("same preference in both orders", found.swapped, 100, "%"),
        ("right one of a pair preferred", found.preferred, 100, "%"),
        ("correlation of error and length", found.length_bias, 1, ""),
        ("characters, wrongly accepted less wrongly rejected", found.length_difference, 1, ""),
    ]
    shown = [(name, *_cells(figure, scale, unit)) for name, figure, scale, unit in rows]
    show.table(("", "figure", "95 % interval", "n"), shown, right=("figure", "95 % interval", "n"))


def _cells(figure: Figure | None, scale: int, unit: str) -> tuple[str, str, object]:
    if figure is None:
        return "not asked", "", ""
    if figure.value is None or figure.ci is None:
        return "not defined", "", figure.n
    low, high = (f"{scale * end:.4g}" for end in figure.ci)
    return f"{scale * figure.value:.4g} {unit}".strip(), f"{low} to {high}", figure.n
