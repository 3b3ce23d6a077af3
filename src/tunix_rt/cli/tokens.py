"""Tokens of a row as a person sees them: each part has its colour and, where there are no colours, its shape."""

import sys
from itertools import groupby
from typing import Any

import click

from tunix_rt.cli import show
from tunix_rt.training.render import Row
from tunix_rt.training.tokenizer import Folder

# part -> (style on a terminal, brackets elsewhere)
LOOKS: dict[str, tuple[dict[str, Any], str]] = {
    "truncated": ({"fg": "red", "strikethrough": True}, "✂{}✂"),
    "context": ({"dim": True}, "{}"),
    "supervised": ({"fg": "black", "bg": "green"}, "⟦{}⟧"),
    "padding": ({"fg": "bright_black"}, "{}"),
}


def parts(row: Row, tokenizer: Folder, width: int) -> list[dict[str, Any]]:
    """Each token of a padded row: `{token, text, part}`, cut ones first."""
    found: list[dict[str, Any]] = [
        {"token": token, "text": tokenizer.piece(token), "part": "truncated"} for token in row.truncated
    ]
    for place, token in enumerate(row.tokens):
        part = "supervised" if row.start <= place < row.stop else "context"
        found.append({"token": token, "text": tokenizer.piece(token), "part": part})
    padding = {"token": tokenizer.padding, "text": "·", "part": "padding"}
    return found + [padding] * (width - len(row.tokens))


def coloured(row: Row, tokenizer: Folder, width: int) -> str:
    """A row for a terminal, under a heading with its counts."""
    tokens = parts(row, tokenizer, width)
    colours = sys.stdout.isatty()
    counts, text = [], ""
    for part, (style, brackets) in LOOKS.items():
        number = sum(token["part"] == part for token in tokens)
        name = f"{number} {part}"
        counts.append(click.style(name, **style) if colours else brackets.format(name))
    for part, run in groupby(tokens, key=lambda token: str(token["part"])):
        style, brackets = LOOKS[part]
        pieces = "".join(show.printable(str(token["text"])).replace("\n", "↵\n") for token in run)
        text += click.style(pieces, **style) if colours else brackets.format(pieces)
    return f"{row.id}  {'  '.join(counts)}\n{text}\n"
