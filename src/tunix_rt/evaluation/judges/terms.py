"""Expressions of people's arithmetic: tokens, and a parser for numbers, units and the operations + - * / ^.

Values are fractions, by two readings of a percent sign: a hundredth, and nothing. Nothing is evaluated by Python;
powers are limited, and what is no arithmetic (`x + 3`, `f(2)`) is no expression.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

_TOKENS = 80
_BITS = 4_096  # of a power
_NO_UNITS = frozenset(
    word
    for words in ("because so then and or but is are was were which that since thus if", "than to from for of")
    for word in words.split()
)
_TOKEN = re.compile(
    r"(?P<space>[ ]+)"
    r"|(?P<number>(?P<sign>[$€£¥]?)[ ]*(?:(?P<mixed>\d{1,9}[ ]\d{1,9}/\d{1,9})(?![\d/])"
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*\d)|\d{0,40}\.\d{1,40}(?![\d.]*\d)"
    r"|\d{1,40}(?![\d]|\.\d))[ ]?(?P<percent>%?))"
    r"|(?P<op>\*\*|[-+*/^()])|(?P<word>[^\W\d_]\w*(?:'\w+)?)|(?P<other>.)",
    re.DOTALL,
)
MEASURES = {
    word: dimension
    for dimension, words in {
        "time": "second sec minute min hour hr day week month year decade century",
        "length": "inch inche in foot feet ft yard mile millimeter mm centimeter cm meter metre kilometer km",
        "weight": "ounce oz pound lb ton gram kilogram kg milligram mg",
        "volume": "cup pint quart gallon liter litre milliliter ml tablespoon teaspoon",
        "money": "cent penny penn nickel dime quarter dollar euro",
        "count": "dozen pair",
    }.items()
    for word in words.split()
}


class _Token(NamedTuple):
    kind: str  # number, op, word, other
    text: str
    value: Fraction
    percent: bool
    money: bool
    start: int
    end: int


class _NoExpression(Exception):  # never leaves this module
    pass


@dataclass(frozen=True, slots=True)
class Side:
    values: tuple[Fraction, ...]  # by each reading of a percent sign
    first: tuple[Fraction, ...]  # of its first operand
    calculates: bool
    units: set[str]
    rate: bool  # one of them is so much per something
    decimals: int | None  # that are shown, where it is a single number
    place: int  # of its first token
    begin: int
    end: int


def tokens_of(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if match["space"]:
            continue
        if match["number"]:
            kind = "number"
        token = match.group()
        value = _value(match) if kind == "number" else Fraction(0)
        found.append(
            _Token(kind, token, value, bool(match["percent"]), bool(match["sign"]), match.start(), match.end())
        )
    return _operators(found)


def _value(match: re.Match[str]) -> Fraction:
    digits = match["number"].strip("$€£¥ %").replace(",", "")
    if match["mixed"]:
        whole, _, part = digits.partition(" ")
        upper, _, lower = part.partition("/")
        return int(whole) + Fraction(int(upper), int(lower) or 1)
    return Fraction(digits)


def _operators(tokens: list[_Token]) -> list[_Token]:
    """Make `x` and `of` between operands the multiplication that they are."""
    for place in range(1, len(tokens) - 1):
        token, before, after = tokens[place], tokens[place - 1], tokens[place + 1]
        operand = after.kind == "number" or after.text == "("
        times = token.text in ("x", "X") and before.text not in ("+", "-", "*", "/", "^", "(")
        share = token.text == "of" and (before.percent or tokens[place - 2].text == "/")
        if operand and (times or share):
            tokens[place] = token._replace(kind="op", text="*")
    return tokens


def ending(tokens: list[_Token]) -> Side | None:
    """The longest expression that ends where the tokens end, or None where that is no arithmetic."""
    for start in range(max(0, len(tokens) - _TOKENS), len(tokens)):
        if tokens[start].kind == "word" or tokens[start].kind == "other":
            continue
        if start and not _may_begin(tokens, start):
            continue
        try:
            found = _Parser(tokens, start).expression()
        except _NoExpression:
            continue
        if found[1] == len(tokens):
            return found[0]
    return None


def _may_begin(tokens: list[_Token], start: int) -> bool:
    """Whether an expression may begin at a token: what stands before it is no operand, operation or name of it."""
    before, first = tokens[start - 1], tokens[start]
    if before.kind == "op" and before.text != ")":
        return False
    if before.end == first.start and (before.kind in ("word", "number") or before.text in ":,.{_\\|!'"):
        return False  # f(2), 1,00 or 7:50
    if first.kind == "op" and first.text != "(":
        signed = start + 1 < len(tokens) and first.end == tokens[start + 1].start
        return before.kind == "other" or (signed and before.kind == "word" and not _algebraic(before))
    return True


def beginning(tokens: list[_Token]) -> Side | None:
    """The longest expression that begins where the tokens begin."""
    try:
        found, end = _Parser(tokens[:_TOKENS], 0).expression()
    except _NoExpression:
        return None
    after = tokens[end] if end < len(tokens) else None
    if after is None:
        return found
    algebra = after.kind == "word" and _algebraic(after) and after.start == found.end  # 5x
    goes_on = after.text in ("*", "/", "^", "**", "+")  # with something that is no number
    unclear = after.kind == "number" or (after.text == ":" and after.start == found.end)  # 18 000, 8:20
    return None if algebra or goes_on or unclear else found


def _algebraic(word: _Token) -> bool:
    return len(word.text) == 1 or any(char.isdigit() for char in word.text)


class _Parser:
    """Recursive descent over tokens; each value by three readings of the percent sign."""

    def __init__(self, tokens: list[_Token], place: int) -> None:
        self.tokens, self.place, self.depth = tokens, place, 0
        self.operations = 0
        self.units: set[str] = set()
        self.rate = False
        self.first: tuple[Fraction, ...] | None = None

    def expression(self) -> tuple[Side, int]:
        """An expression, and the place behind it."""
        begin = self.place
        values = self.sum()
        first, last = self.tokens[begin], self.tokens[self.place - 1]
        side = Side(
            values=values,
            first=self.first or values,
            calculates=self.operations > 0,
            units=self.units,
            rate=self.rate,
            decimals=None if self.operations else _decimals(self.tokens[begin : self.place]),
            place=begin,
            begin=first.start,
            end=last.end,
        )
        return side, self.place

    def _peek(self) -> str:
        return self.tokens[self.place].text if self._is("op") else ""

    def _is(self, kind: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place].kind == kind

    def _operation(self, *signs: str) -> str:
        """The next operation, if an operand follows it."""
        sign = self._peek()
        if sign not in signs or self.place + 1 >= len(self.tokens):
            return ""
        after = self.tokens[self.place + 1]
        if after.kind != "number" and after.text not in ("(", "-", "+"):
            return ""
        self.place += 1
        self.operations += 1
        return sign

    def sum(self) -> tuple[Fraction, ...]:
        values = self.product()
        self.first = self.first or values
        while sign := self._operation("+", "-"):
            other = self.product()
            values = tuple(a + b if sign == "+" else a - b for a, b in zip(values, other, strict=True))
        return values

    def product(self) -> tuple[Fraction, ...]:
        values = self.power()
        self.first = self.first or values
        while True:
            sign = self._operation("*", "/")
            if sign:
                other = self._fraction() or self.power()
                if sign == "/" and 0 in other:
                    raise _NoExpression
                values = tuple(a * b if sign == "*" else a / b for a, b in zip(values, other, strict=True))
            elif self._peek() == "(" and self.tokens[self.place - 1].text == ")":
                self.operations += 1
                values = tuple(a * b for a, b in zip(values, self.power(), strict=True))
            else:
                return values

    def _fraction(self) -> tuple[Fraction, ...] | None:
        """In `6 / 1/2` the half, which spaces set apart from the division."""
        if self.place + 2 >= len(self.tokens):
            return None
        division, upper, over, lower = self.tokens[self.place - 1 : self.place + 3]
        if upper.kind != "number" or lower.kind != "number" or over.text != "/" or division.end == upper.start:
            return None
        if (upper.end, over.end) != (over.start, lower.start) or not lower.value:
            return None
        self.place += 3
        self._skip_unit()
        return (upper.value / lower.value,) * 2

    def power(self) -> tuple[Fraction, ...]:
        base = self.operand()
        if self._operation("^", "**"):
            exponents = self.power()
            return tuple(_raised(a, b) for a, b in zip(base, exponents, strict=True))
        return base

    def operand(self) -> tuple[Fraction, ...]:
        self.depth += 1
        if self.depth > 60 or self.place >= len(self.tokens):
            raise _NoExpression
        token = self.tokens[self.place]
        if token.text in ("-", "+") and token.kind == "op":
            self.place += 1
            values = tuple(-value if token.text == "-" else value for value in self.operand())
        elif token.text == "(":
            self.place += 1
            first = self.first
            values = self.sum()
            if self._peek() != ")":
                raise _NoExpression
            self.place += 1
            self.first = first
        elif token.kind == "number":
            self.place += 1
            values = (token.value / 100, token.value) if token.percent else (token.value, token.value)
            self.units |= {"dollar"} if token.money else set()
        else:
            raise _NoExpression
        self._skip_unit()
        self.depth -= 1
        return values

    def _skip_unit(self) -> None:
        """Pass over the words behind an operand, up to three, as `hours`, `/hour` or `per hour`."""
        words = 0
        while words < 3:
            slash = self._peek() == "/" and self.place + 1 < len(self.tokens)
            word = self.place + slash
            if word >= len(self.tokens) or self.tokens[word].kind != "word":
                return
            if _algebraic(self.tokens[word]):
                return
            singular = self.tokens[word].text.lower().removesuffix("s")
            if singular in _NO_UNITS:
                return
            self.units.add(singular)
            self.rate = self.rate or slash or singular == "per"
            self.place = word + 1
            words += 1
            if self._peek() == "^" and self.place + 1 < len(self.tokens):  # cm^3
                glued = self.tokens[word].end == self.tokens[self.place].start
                self.place += 2 * (glued and self.tokens[self.place + 1].kind == "number")


def _decimals(tokens: list[_Token]) -> int | None:
    """Decimals of the one number among some tokens; of a percentage as a share."""
    number = next((token for token in tokens if token.kind == "number"), None)
    if number is None or "/" in number.text:
        return None
    return len(number.text.rstrip("% ").partition(".")[2]) + 2 * number.percent


def _raised(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > _BITS or (base == 0 and exponent < 0):
        raise _NoExpression
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size * abs(exponent.numerator) > _BITS:
        raise _NoExpression
    return base**exponent.numerator
