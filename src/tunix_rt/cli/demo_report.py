"""What `tunix-rt demo` prints at its end: examples, the leaderboard, comparisons, and commands to go on with."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from tunix_rt import web
from tunix_rt.cli import show
from tunix_rt.cli.shell_command import command

EXAMPLES = 3
SPARKS = "▁▂▃▄▅▆▇█"


def show_report(result: dict[str, Any], board: dict[str, Any], predictions: dict[str, Path]) -> None:
    """Print the report.

    Args:
        result: the document of `demo --json`.
        board: the leaderboard's, of the held-out problems.
        predictions: file of each model's answers.
    """
    home = Path(result["home"])
    _examples(_lines(home / "held-out.jsonl")[:EXAMPLES], predictions)
    click.echo()
    click.secho(
        f"Leaderboard: {result['task']}, {board['n_items']} held-out problems, judged by {board['judge']}", bold=True
    )
    show.table(
        ["rank", "model", "exact", "95 % interval", "n", "p against the first"],
        [
            [
                row["rank"],
                row["name"],
                f"{100 * row['score']:.1f} %",
                "{:.1f} to {:.1f}".format(*(100 * bound for bound in row["ci"])),
                row["n_items"],
                "" if row["p_value"] is None else f"{row['p_value']:.2g}",
            ]
            for row in board["rows"]
        ],
        right=["rank", "exact", "n"],
        always_drawn=True,
    )
    click.echo("p: exact McNemar test, Holm over the board. Rows that cannot be told apart share a rank.")
    click.echo()
    for pair in result["comparisons"]:
        low, high = (f"{100 * bound:+.1f}" for bound in pair["ci"])
        click.echo(
            f"{pair['b']} against {pair['a']}: {100 * pair['difference']:+.1f} points "
            f"(95 % interval {low} to {high}, p = {pair['p_value']:.2g}): {pair['verdict']}"
        )
    click.echo(
        f"\nThe whole loop took {result['seconds']:.0f} s with seed {result['seed']}. Everything is in:\n  {home}"
    )
    _next_commands(result["task"], result["seed"], home)


def _next_commands(task: str, seed: int, home: Path) -> None:
    """Print commands that run as they stand in the current folder, the last lines of the demo."""
    model, items = home / "runs" / "reasoning" / "model", home / "held-out.jsonl"
    audit = ("datasets", "audit", f"{task}-v1", "--tokenizer", model, "--show", 1)
    again = ("generate", "--model", model, "--eval-set", items, "-o", home / "again.jsonl", "--temperature", 1)
    click.echo(f"\nGo on with these commands, in {Path.cwd()}:")
    for purpose, line in (
        ("See it in the web app" if web.is_built() else "Serve its API", command("serve", home=home)),
        ("See which tokens of an example are trained", command(*audit, home=home)),
        ("List five of the traces", command("traces", "list", "--source", task, "--limit", 5, home=home)),
        ("Let the model answer again, at temperature 1", command(*again, home=home)),
        ("Run the demo with another seed", command("demo", "--seed", (seed + 1) % 2**31)),
    ):
        click.echo(f"{purpose}:\n  {line}")


def _examples(items: list[dict[str, Any]], predictions: dict[str, Path]) -> None:
    said = {name: {line["id"]: line for line in _lines(path)} for name, path in predictions.items()}
    for item in items:
        click.echo()
        click.secho(f"{show.printable(item['prompt'])}  [{show.printable(item['expected_answer'])}]", bold=True)
        for name, answers in said.items():
            output = show.printable(" / ".join(answers[item["id"]]["output"].split("\n")))
            if not output.strip(" /"):
                output = f"({len(output)} characters, all blank)"
            click.echo(f"  {name:<10} {output if len(output) <= 110 else output[:109] + '…'}")


def sparkline(values: list[float], width: int = 60) -> str:
    """A curve in one line of text: the mean of each of `width` buckets, lowest to highest."""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1
    return "".join(SPARKS[round((mean - low) / span * (len(SPARKS) - 1))] for mean in means)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
