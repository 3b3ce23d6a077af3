"""Answers: where in a model's output the final answer stands.

Model output is hostile: of any length, in any script, made to look like a marker or to make a parser hang. All of
this is linear in the output, bounded in the numbers that it reads, and never raises.

Named rules, in order:

1. A marker: `answer` (`Answer:`, in any case, also `**Answer**:`), `a` (`A:`, a capital that begins a line or a
   sentence; elsewhere it labels: `Section A: 300`), `hashes` (`####`, four and no more), `boxed` (`\\boxed{...}` with
   balanced braces), `answer_tag` (`<answer>`, up to `</answer>`). The last marker in the text wins, whichever it is.
   What stands behind it counts to the end of its line (or of the next line with text, where its own is empty), to the
   closing brace or tag, and never past the next marker; where the expected answer has several lines, to the end of
   the text. A marker with nothing behind it gives no answer and is passed over.
2. `last_number`, where the expected answer is a number: the last number in the text. Dates, times, versions and
   ranges (`2024-01-05`, `10:30`, `1.2.3`, `5-10`) and what is neither a number nor a thousand (`1,5`) are no numbers.
3. `whole_text`.

Where the expected answer is a number and a marker's text is more than one, `.right_side` says that what follows its
last `=` was taken, `.one_number` that it holds a single number (`5 apples`). Between two numbers none is chosen.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tunix_rt.evaluation.normal import normal, number, numbers

_LINE_MARKER = re.compile(r"[Aa](?:(?i:nswer)[ \t*_]{0,6}[:：]|[ \t*_]{0,4}[:：])|####+|<(?i:answer)>")
# Before `A:`, which is also how sections, points and choices are labelled: the start of a line, a bracket, or the end
# of a sentence.
_OPENING = re.compile(r"(?:[\n{>]|[.!?。…][ \t])[ \t*_>]{0,8}\Z")
_CLOSING_TAG = re.compile(r"</answer>", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)[ \t]{0,8}\{|\\.|[{}]", re.DOTALL)
_DIGIT = re.compile(r"[\d¼-¾⅐-⅞]")
_SPACE = re.compile(r"\s")
_TRIM = " \t\r\n\f\v*`"
_LEFT_OVER = re.compile(r"_+\s+")  # of __Answer:__ 72
_TEXT = re.compile(r"[^ \t\r\n\f\v*_`]")
_LONG = 10_000  # characters of one answer that are searched for a number
_WINDOW, _WINDOWS = 2_000, 64  # characters, and pieces of so many, that are searched for the last number


@dataclass(frozen=True, slots=True)
class Target:
    """An expected answer, read once: its normal form, its value where it is a number, whether it has several lines."""

    text: str
    normal: str
    value: Fraction | None
    lines: bool


@dataclass(frozen=True, slots=True)
class Found:
    """An answer found in an output: its text, the rule, its value where a number is wanted, what is odd about it."""

    text: str
    rule: str
    value: Fraction | None = None
    note: str | None = None


class _Marker(NamedTuple):
    start: int
    rule: str
    begin: int  # of what stands behind it
    end: int = -1  # of that, where it has brackets


@lru_cache(maxsize=4096)
def target(expected: str) -> Target:
    """Read an expected answer."""
    plain = normal(expected)
    return Target(expected, plain, number(plain), "\n" in expected.strip())


def _boxes(text: str, begin: int) -> list[_Marker]:
    """Every `\\boxed{...}` whose braces balance, in one pass."""
    places = (text.find("\\boxed", begin), text.find("\\fbox", begin))
    first = min((place for place in places if place >= 0), default=-1)
    if first < 0:
        return []
    found: list[_Marker] = []
    opened: list[tuple[int, int] | None] = []
    for match in _BRACE.finditer(text, first):
        token = match.group()
        if token == "}":
            box = opened.pop() if opened else None
            if box is not None:
                found.append(_Marker(box[0], "boxed", box[1], match.start()))
        elif token == "{":
            opened.append(None)
        elif len(token) > 2:
            opened.append((match.start(), match.end()))
    return found


def _behind(text: str, marker: _Marker, limit: int, several_lines: bool) -> str:
    """What stands behind a marker, up to `limit`."""
    if marker.end >= 0:
        return text[marker.begin : marker.end].strip(_TRIM)
    close = _CLOSING_TAG.search(text, marker.begin, limit)
    if close:
        limit = close.start()
    if several_lines or (close and marker.rule == "answer_tag"):
        return text[marker.begin : limit].strip(_TRIM)
    first = _TEXT.search(text, marker.begin, limit)
    if not first:
        return ""
    end = text.find("\n", first.start(), limit)
    begin = max(marker.begin, text.rfind("\n", marker.begin, first.start()) + 1)
    line = text[begin : limit if end < 0 else end].strip(_TRIM)
    left_over = _LEFT_OVER.match(line)
    return line[left_over.end() :] if left_over else line


def _line_markers(text: str, begin: int) -> Iterator[_Marker]:
    for match in _LINE_MARKER.finditer(text, begin):
        token, start = match.group(), match.start()
        before = text[start - 1] if start else " "
        if token[0] == "<":
            rule = "answer_tag"
        elif token[0] == "#":
            if len(token) != 4:
                continue
            rule = "hashes"
        elif before.isalnum() or before == "_":
            continue
        elif token[1:2] in "nN":
            rule = "answer"
        elif token[0] == "A" and _OPENING.search(text[start - 10 : start] if start > 10 else "\n" + text[:start]):
            rule = "a"
        else:
            continue
        yield _Marker(start, rule, match.end())


def _marked(text: str, several_lines: bool) -> tuple[str, str] | None:
    """The rule and the text behind the last marker that has any, looked for from the end in growing pieces."""
    size = 4_096
    while True:
        begin = max(0, len(text) - size)
        found = _last_marked(text, begin, several_lines)
        if found or begin == 0:
            return found
        size *= 8


def _last_marked(text: str, begin: int, several_lines: bool) -> tuple[str, str] | None:
    markers = sorted([*_line_markers(text, begin), *_boxes(text, begin)])
    limit = len(text)
    for place in range(len(markers) - 1, -1, -1):
        marker = markers[place]
        box = markers[place - 1] if place else None
        inside = box is not None and box.end > marker.start  # a marker inside a box ends with it
        found = _behind(text, marker, min(limit, box.end) if box and inside else limit, several_lines)
        if found:
            return marker.rule, found
        limit = marker.start
    return None


def _windows(text: str) -> Iterator[str]:
    """Pieces of a text from its last digit backwards, cut at white space where there is any."""
    last = _DIGIT.search(text[::-1])
    end = min(len(text), len(text) - last.start() + 40) if last else 0
    for _ in range(_WINDOWS):
        if end <= 0:
            return
        start = max(0, end - _WINDOW)
        gap = _SPACE.search(text, start, start + _WINDOW // 2) if start else None
        start = gap.end() if gap else start
        yield text[start:end]
        end = start


def _last_number(text: str) -> Found | None:
    for piece in _windows(text):
        for token, value in reversed(numbers(normal(piece))):
            if value is not None:
                return Found(token, "last_number", value)
    return None


def _number_in(text: str, rule: str) -> Found:
    """Read a marker's text where a number is expected."""
    if len(text) > _LONG:
        return Found(text, rule, None, "is too long to be a number")
    plain = normal(text).strip("_")
    value = number(plain)
    if value is not None:
        return Found(text, rule, value)
    if "=" in plain:
        plain, rule = plain.rpartition("=")[2].strip(), rule + ".right_side"
        value = number(plain)
        if value is not None:
            return Found(plain, rule, value)
    held = numbers(plain)
    if len(held) == 1 and held[0][1] is not None and "\\" not in plain:
        return Found(held[0][0], rule + ".one_number", held[0][1])
    note = f"holds {len(held)} numbers, and none is chosen" if len(held) > 1 else "is not a number"
    return Found(text, rule, None, note)


def extract(output: str, wanted: Target) -> Found:
    """Find the final answer in an output.

    Args:
        output: what the model wrote, whole.
        wanted: decides what is looked for: a number, or a text of one or several lines.
    """
    marked = _marked(output, wanted.lines)
    if marked:
        rule, text = marked
        return Found(text, rule) if wanted.value is None else _number_in(text, rule)
    if wanted.value is not None:
        return _last_number(output) or Found(output.strip(), "whole_text", None, "holds no number")
    return Found(output.strip(), "whole_text")
