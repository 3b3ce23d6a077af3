"""What a trace calculates, where it stands, and whether it is right: by the rules of the judge `steps`."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from tunix_rt.evaluation.judges import arithmetic
from tunix_rt.evaluation.judges.arithmetic import Calculation
from tunix_rt.evaluation.schemas import CheckedText, Piece, TraceCalculations
from tunix_rt.traces.schemas import TraceOut

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def of_trace(trace: TraceOut) -> TraceCalculations:
    """Check every calculation of a trace's steps, noted ones (`meta.calculations`) too, and of its answer."""
    steps = [check(step.content, step.meta) for step in trace.steps]
    answer = check(trace.final_answer)
    pieces = [piece for text in (*steps, answer) for piece in (*text.pieces, *text.apart)]
    return TraceCalculations(
        trace_id=trace.id,
        steps=steps,
        final_answer=answer,
        right=sum(piece.right is True for piece in pieces),
        wrong=sum(piece.right is False for piece in pieces),
    )


def check(text: str, meta: dict[str, Any] | None = None) -> CheckedText:
    """A text cut at its calculations; those that cannot be found again in it stand apart."""
    pieces: list[Piece] = []
    apart: list[Piece] = []
    plain = ""
    for line in _LINE.findall(text):
        found = list(arithmetic.calculations(line))
        if len(arithmetic.plain(line)) == len(line):
            _cut(line, found, pieces, apart)
        else:  # LaTeX, ² or ½: what was checked has other places than what stands there
            _plain(line, pieces)
            apart += [_piece(one, one.text) for one in found]
        plain += "".join(arithmetic.plain(line).split())
    apart += [_piece(one, one.text) for one in _noted(meta) if "".join(one.text.split()) not in plain]
    return CheckedText(pieces=pieces, apart=apart)


def _cut(line: str, found: list[Calculation], pieces: list[Piece], apart: list[Piece]) -> None:
    place = 0
    for one in sorted(found, key=lambda one: one.start):
        start = max(place, one.start)  # `5 + 3 = 8 * 2 = 16`: the second goes on where the first ends
        stop = _end(line, one)
        if stop <= start:  # a note inside of what is marked already
            apart.append(_piece(one, one.text))
            continue
        _plain(line[place:start], pieces)
        pieces.append(_piece(one, line[start:stop]))
        place = stop
    _plain(line[place:], pieces)


def _plain(text: str, pieces: list[Piece]) -> None:
    if not text:
        return
    if pieces and pieces[-1].right is None:
        pieces[-1] = Piece(text=pieces[-1].text + text, right=None, value=None)
    else:
        pieces.append(Piece(text=text, right=None, value=None))


def _end(line: str, one: Calculation) -> int:
    """Where a calculation ends in the line: its text has other spaces, and notes and labels are spaces in it."""
    place, left = one.start, "".join(one.text.split())
    said = arithmetic.plain(line)
    while left and place < len(said):
        if said.startswith("<<", place):  # a note beside what is stated
            close = said.find(">>", place)
            place = len(said) if close < 0 else close + 2
            continue
        if said[place] == left[0]:
            left = left[1:]
        place += 1
    return place


def _piece(one: Calculation, text: str) -> Piece:
    return Piece(text=text, right=one.right, value=shown(one.value))


def shown(value: Fraction) -> str:
    """A value as people write it: whole, with up to six decimals where that is exact, else as a fraction."""
    scaled = value * 10**6
    if value.denominator == 1 or scaled.denominator != 1:
        return str(value)
    return f"{float(value):.6f}".rstrip("0")


def _noted(meta: dict[str, Any] | None) -> Iterator[Calculation]:
    noted = (meta or {}).get("calculations")
    for pair in noted if isinstance(noted, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            yield from arithmetic.calculations(f"{pair[0]}={pair[1]}")
