"""Arithmetic as people write it: `16 - 3 - 4 = 9`, `$5 x 3 = $15`, `20% of 50 = 10`, `<<48/2=24>>24`.

`calculations` finds what a text states with an equals sign, on both sides of which numbers and the operations
+ - * / ^ stand, and says for each whether it is right. Values are fractions. Nothing is evaluated by Python.

- A unit of up to three words may stand behind a number (`3 hours x 60 minutes/hour = 180 minutes`). Between units of
  measure that differ (`30 minutes + 30 minutes = 1 hour`) nothing is checked.
- A percent sign is a hundredth, or a unit (`80% + 20% = 100`); what is right in one reading is right.
- A result with two decimals or more may be rounded (`10 / 3 = 3.33`), and any after `≈`.
- With a letter as an operand (`x + 3 = 5`, `2x = 4`, `sqrt(16) = 4`) it is algebra, which is not checked; neither is
  `2 hours = 120 minutes`, where nothing is calculated.
- In `5 + 3 = 8 * 2 = 16` each equals sign is checked by itself, and what follows one may go on from there: both are
  right, for 5 + 3 is 8, with which the text goes on.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from tunix_rt.evaluation.judges.terms import MEASURES, beginning, ending, tokens_of

MOST = 1_000  # equals signs of a text that are checked
_REACH = 300  # characters on each side of one
_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "✕": "*", "÷": "/", "⁄": "/", "∕": "/", "＝": "="}
    | {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "²": "^2", "³": "^3", "≃": "≈"}
)
_LATEX = (
    (re.compile(r"\\(?:times|cdot)(?![a-z])"), "*"),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile(r"\\approx(?![a-z])"), "≈"),
    (re.compile(r"\\[dt]?frac\s?\{([0-9.,]{1,40})\}\s?\{([0-9.,]{1,40})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:text|mathrm)\s?\{([^{}\n]{0,200})\}"), r" \1 "),
    (re.compile(r"\\(?:left|right|,|;|!)"), ""),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\\[()\[\]]"), "\t"),  # where a formula begins or ends
)
_EQUALS = re.compile(r"(?<![<>!=:~])=(?!=)|≈|~=")
_AROUND = re.compile(r"[\n=≈]|<<|>>")  # an expression does not reach past one
_NOTE = re.compile(r"<<([^<>\n]{0,300})>>")
_FIGURE = r"\s*\$?(-?[0-9][0-9,]{0,30}(?:\.[0-9]{1,30})?)"
_RESULT = re.compile(rf"{_FIGURE}\s*>>{_FIGURE}(?![\d.,/%]*\d)")  # what a note says and what stands behind it
_LABEL = re.compile(  # of a line: a bullet, a number, `Step 2:`
    r"^[ \t]*(?:[-*•][ \t]+|(?:(?:step|day|part|question)[ \t]+)?\d{1,3}[ \t]*[.:)][ \t]+)",
    re.IGNORECASE | re.MULTILINE,
)
_VULGAR = re.compile(r"(\d{0,9})[ ]?([¼-¾⅐-⅞])")
_AND = re.compile(r"(\d{1,9}) and \(?(\d{1,9}/\d{1,9})(?![\d/])\)?")  # 1 and 1/3
_REMAINDER = re.compile(r"\b(?:r\s?\d|remainder)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Calculation:
    """What a text states.

    Attributes:
        text: as it stands there. start: where.
        right: whether it is.
        value: what its left side is.
    """

    text: str
    start: int
    right: bool
    value: Fraction


def plain(text: str) -> str:
    """The text in the characters of arithmetic."""
    if "\\" in text:
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = _VULGAR.sub(_written_out, text)
    return _AND.sub(r"\1 \2", text.translate(_CHARACTERS))


def _written_out(vulgar: re.Match[str]) -> str:
    value = Fraction(unicodedata.numeric(vulgar[2])).limit_denominator(10)
    return f"{vulgar[1]} {value}" if vulgar[1] else f"({value})"


def calculations(text: str, rounding: bool = True) -> Iterator[Calculation]:
    """What a text states, in its order; of the first `MOST` equals signs.

    Args:
        text: anything; the work is linear in it.
        rounding: a rounded result is right.
    """
    text = plain(text)
    outer = _LABEL.sub(lambda match: "\t" * len(match.group()), _NOTE.sub(lambda match: " " * len(match.group()), text))
    signs = [(match.start(), match.end(), False) for match in islice(_EQUALS.finditer(outer), MOST)]
    for note in islice(_NOTE.finditer(text), MOST):
        sign = _EQUALS.search(text, note.start(1), note.end(1))
        if sign:
            signs.append((sign.start(), sign.end(), True))
    for begin, end, noted in sorted(signs)[:MOST]:
        found = _statement(text if noted else outer, begin, end, rounding)
        if found:
            yield found
        result = _RESULT.match(text, end) if noted else None
        if result:
            said, repeated = (Fraction(figure.replace(",", "")) for figure in result.groups())
            if said != repeated:
                yield Calculation(" ".join(text[begin : result.end()].split()), begin, False, said)


def _statement(text: str, begin: int, end: int, rounding: bool) -> Calculation | None:
    left_edge = max(0, begin - _REACH)
    reach = _AROUND.split(text[left_edge:begin])[-1]
    before, after = tokens_of(reach), tokens_of(_AROUND.split(text[end : end + _REACH], maxsplit=1)[0])
    left, right = ending(before), beginning(after)
    if left is None or right is None or not (left.calculates or right.calculates):
        return None
    if not left.calculates and (left.units or (left.place and before[left.place - 1].kind == "word")):
        return None
    measured = [MEASURES[unit] for unit in left.units | right.units if unit in MEASURES]
    converts = len(set(measured)) < len(measured) and not left.rate
    if converts or _REMAINDER.search(text, end + right.end, end + right.end + 40):
        return None
    near = text[begin:end] != "="
    right_away = any(_equal(a, b, right.decimals, rounding, near) for a in left.values for b in right.values)
    goes_on = right.calculates and any(a in right.first for a in left.values)
    start = begin - len(reach) + left.begin
    stated = " ".join(text[start : end + right.end].split())
    if not right_away and text.startswith("...", end + right.end):
        return None
    return Calculation(stated, start, right_away or goes_on, left.values[0])


def _equal(a: Fraction, b: Fraction, decimals: int | None, rounding: bool, near: bool) -> bool:
    if a == b:
        return True
    if decimals is None or not (near or (rounding and decimals >= 2)):
        return False
    scale = 10**decimals
    return bool(abs(a - b) * scale * 2 <= 1)  # halves are rounded either way
