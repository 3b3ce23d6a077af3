"""How results look: JSON for machines, tables for people, talk on stderr."""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tunix_rt.base import jsontext


def json_option(command: Any) -> Any:
    """Add `--json`: one document on stdout and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)


def document(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(jsontext.dumps(value).decode() + "\n")


def printable(text: str) -> str:
    """Make hostile text safe for a terminal: control characters are shown, never obeyed."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def colours(stream: TextIO) -> bool:
    """Whether colours are wanted on `stream`: on a terminal, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def seconds(value: float | None) -> str:
    """A duration as a person says it, to two units; `-` where it is unknown."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {name}"
    return f"{whole} s"


def say(text: str) -> None:
    """Talk to the person: progress, warnings, the next step; on stderr."""
    click.echo(text, err=True)


def console() -> Console:
    """A console on stdout: coloured on a terminal, plain elsewhere."""
    return Console(highlight=False, soft_wrap=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = (), *, always_drawn: bool = False
) -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated elsewhere (so that `cut` and `awk` can read it).

    Args:
        columns: headings.
        rows: cells, shown as text; a `Text` of rich keeps its style on a terminal.
        right: headings whose cells are figures.
        always_drawn: drawn for a person elsewhere too, where nobody would take it apart.
    """
    if not (always_drawn or sys.stdout.isatty()):
        for row in (columns, *rows):
            click.echo("\t".join(printable(str(cell)).replace("\t", " ").replace("\n", "\\n") for cell in row))
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else printable(str(cell)).replace("[", "\\[") for cell in row))
    console().print(drawn)


def seconds_left(elapsed: float, done: int, total: int) -> int:
    """Seconds until `total` steps are done, at the mean speed of the first `done`."""
    return math.ceil(elapsed / max(1, done) * (total - done))


def progress() -> Progress:
    """A progress bar on stderr; disabled, and silent, where stderr is no terminal that can draw it."""
    err = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        transient=True,
        disable=not sys.stderr.isatty() or err.is_dumb_terminal,  # rich draws into pipes where FORCE_COLOR is set
    )
