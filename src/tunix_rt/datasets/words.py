"""Texts as arrays of words, for thousands of texts at once: numpy works on their characters, Python only on each text.

A word is a run of letters and digits; a character of a script that writes no spaces (Chinese, Japanese, Thai and
theirs); or one sign of arithmetic, since `2 + 3` and `2 - 3` are different questions. Case, white space and all other
punctuation leave no trace. `1,000` is `1000`, `don't` is `dont`, `2.5` is one word.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]

_PIECE = 2**18  # characters of a long text that are looked at together: memory is some 50 bytes a character
_SPACE, _LETTER, _DIGIT, _ALONE, _SIGN, _OTHER, _DOT, _COMMA, _MINUS, _STAR, _BRACKET, _QUOTE = range(12)
_UNKNOWN = 255
_SPECIAL = {
    " ": _SPACE, "\t": _SPACE, ".": _DOT, ",": _COMMA, "-": _MINUS, "/": _MINUS, "*": _STAR, "(": _BRACKET,
    ")": _BRACKET, "%": _SIGN, "^": _SIGN, "'": _QUOTE, "’": _QUOTE,
}  # fmt: skip
# Scripts without spaces between words: Thai to Myanmar, Khmer, kana and Han with its extensions.
_UNSPACED = ((0x0E00, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x30FF),
             (0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip
_SPELLED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen half "
    "twice thrice double triple quarter third"
)
_kinds = np.full(0x110000, _UNKNOWN, np.uint8)
_POWERS = np.cumprod(np.full(1024, 0x9E3779B97F4A7C15, np.uint64))


@dataclass(frozen=True)
class Words:
    """Words of many texts, one after the other.

    Attributes:
        hashes: uint64 (W,), one for each word.
        numbers: bool (W,): holds a digit, or is a spelled number.
        signs: bool (W,): a sign of arithmetic.
        breaks: bool (W,): something other than spaces follows, or the end.
        starts: int (T + 1,): the words of text t are `starts[t]:starts[t + 1]`.
    """

    hashes: Hashes
    numbers: Mask
    signs: Mask
    breaks: Mask
    starts: Places

    def cut(self, low: int, high: int) -> "Words":
        """Some of the words, as one text; a copy."""
        part = slice(low, high)
        return Words(
            self.hashes[part].copy(),
            self.numbers[part].copy(),
            self.signs[part].copy(),
            self.breaks[part].copy(),
            np.array([0, high - low]),
        )


def words(texts: Sequence[str]) -> Words:
    """The words of each text."""
    pieces: list[str] = []
    counts = []
    for text in texts:
        before = len(pieces)
        pieces += _pieces(unicodedata.normalize("NFKC", text).lower())
        counts.append(len(pieces) - before)
    parts = [_words(group) for group in _groups(pieces)] or [_words([])]
    ends = np.concatenate(([0], np.cumsum(np.concatenate([np.diff(part.starts) for part in parts]))))
    starts = ends[np.concatenate(([0], np.cumsum(np.array(counts, np.int64))))]
    return Words(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.signs for part in parts]),
        np.concatenate([part.breaks for part in parts]),
        starts,
    )


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces of bounded size, cut at a space where there is one."""
    start = 0
    while len(text) - start > _PIECE:
        cut = text.rfind(" ", start + 1, start + _PIECE)
        cut = start + _PIECE if cut < 0 else cut
        yield text[start:cut]
        start = cut
    yield text[start:]


def _groups(pieces: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for piece in pieces:
        if group and size + len(piece) > 2 * _PIECE:
            yield group
            group, size = [], 0
        group.append(piece)
        size += len(piece)
    if group:
        yield group


def _words(texts: Sequence[str]) -> Words:
    characters = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    bounds = np.cumsum([len(text) + 1 for text in texts])
    kinds = _kinds_of(characters)
    before, after = np.roll(kinds, 1), np.roll(kinds, -1)  # what is rolled round is the last line's end
    digit, letter = kinds == _DIGIT, kinds == _LETTER
    inner = (kinds == _DOT) & (before == _DIGIT) & (after == _DIGIT)
    run = digit | letter | inner
    joined = (kinds == _QUOTE) & (before == _LETTER) & (after == _LETTER)
    thousands = (kinds == _COMMA) & (before == _DIGIT) & (after == _DIGIT)
    if thousands.any():  # three digits follow, and no fourth
        thousands &= (np.roll(kinds, -2) == _DIGIT) & (np.roll(kinds, -3) == _DIGIT) & (np.roll(kinds, -4) != _DIGIT)
    bracket = kinds == _BRACKET
    if bracket.any():  # one of a formula: what stands next to it, a space aside, is a digit, a sign or another one
        formula = (kinds == _DIGIT) | (kinds == _SIGN) | (kinds == _MINUS) | bracket
        next_to = np.roll(formula, 1) | np.roll(formula, -1)
        across = (before == _SPACE) & np.roll(formula, 2) | (after == _SPACE) & np.roll(formula, -2)
        bracket &= next_to | across
    sign = (
        (kinds == _SIGN)
        | (kinds == _MINUS) & ~((before == _LETTER) & (after == _LETTER))
        | (kinds == _STAR) & ~((before == _LETTER) | (after == _LETTER) | (before == _STAR) | (after == _STAR))
        | bracket
    )
    dropped = joined | thousands
    if dropped.any():
        kept = ~dropped
        bounds = np.cumsum(kept)[bounds - 1]
        characters, kinds, run, sign, digit = (part[kept] for part in (characters, kinds, run, sign, digit))
    alone = sign | (kinds == _ALONE)
    starting = alone | run & ~np.concatenate(([False], run[:-1]))
    places = np.flatnonzero(run | alone)
    first = np.flatnonzero(starting[places])
    if not len(first):
        empty = np.zeros(0, np.bool_)
        return Words(np.zeros(0, np.uint64), empty, empty, empty, np.zeros(len(texts) + 1, np.int64))
    begins = places[first]
    ends = places[np.append(first[1:] - 1, len(places) - 1)]
    within = places - np.repeat(begins, np.diff(np.append(first, len(places))))
    hashes = mixed(np.add.reduceat((characters[places] + np.uint64(1)) * _POWERS[within & 1023], first))
    gaps = np.cumsum((kinds == _OTHER) | (kinds >= _DOT) & ~(run | alone))
    breaks = np.append(gaps[begins[1:]] > gaps[ends[:-1]], True)
    numbers = np.logical_or.reduceat(digit[places], first) | np.isin(hashes, _NUMBERS)
    return Words(hashes, numbers, sign[begins], breaks, np.concatenate(([0], np.searchsorted(begins, bounds))))


def _kinds_of(characters: NDArray[np.uint32]) -> NDArray[np.uint8]:
    kinds = _kinds[characters]
    unknown = kinds == _UNKNOWN
    if unknown.any():
        for code in np.unique(characters[unknown]).tolist():
            _kinds[code] = _kind(chr(code))
        kinds = _kinds[characters]
    return kinds


def _kind(character: str) -> int:
    if character in _SPECIAL:
        return _SPECIAL[character]
    code, category = ord(character), unicodedata.category(character)
    if category[0] in "LM" and any(low <= code <= high for low, high in _UNSPACED):
        return _ALONE
    if category[0] in "LM":
        return _LETTER
    return {"N": _DIGIT, "Z": _SPACE}.get(category[0], _SIGN if category == "Sm" else _OTHER)


def mixed(values: Hashes) -> Hashes:
    """Spread 64-bit values evenly: the finalizer of MurmurHash3, a bijection."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def _hash(word: str) -> int:
    total = sum((ord(character) + 1) * power for character, power in zip(word, _POWERS.tolist(), strict=False))
    return int(mixed(np.array([total % 2**64], np.uint64))[0])


_NUMBERS = np.array([_hash(word) for word in _SPELLED.split()], np.uint64)
