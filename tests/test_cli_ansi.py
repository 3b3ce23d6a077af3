"""What a run printed, on a terminal: colours at most, and no byte of it is obeyed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunix_rt.cli.ansi import Filter, safe

PIECES = st.sampled_from(
    [
        *(b"\x1b", b"\x1b[", b"\x1b[31m", b"\x1b[0m", b"\x1b[1;38;5;4", b"m", b"\x1b[2J", b"\x1b]52;c;aGk=\x07", b";"),
        *("é".encode(), "\u2028".encode(), "\u202e".encode(), "😀".encode(), b"\xf0\x9f", b"\xff", b"\xed\xa0\x80"),
        *(b"text", b"\n", b"\r", b"\t", b"\x00", b"\x08", b"\x9b", b"\xc2\x9b31m", b"[", b"7" * 70),
    ]
)
OUTPUT = st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=12).map(b"".join))


def filtered(pieces: list[bytes], colours: bool) -> str:
    filter_ = Filter(colours=colours)
    return "".join(filter_.feed(piece) for piece in pieces) + filter_.end()


@given(OUTPUT, st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_where_the_pieces_are_cut_changes_nothing(output: bytes, cuts: list[int], colours: bool) -> None:
    ends = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    pieces = [output[start:end] for start, end in pairwise(ends)]
    assert filtered(pieces, colours) == filtered([output], colours)
    assert filtered([bytes([byte]) for byte in output], colours) == filtered([output], colours)


@given(OUTPUT)
def test_without_colours_no_control_character_is_left(output: bytes) -> None:
    left = filtered([output], colours=False)
    assert not [char for char in left if char not in "\n\t\r" and (ord(char) < 32 or 127 <= ord(char) < 160)]


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert filtered([text.encode()], colours=True) == text


@pytest.mark.parametrize(
    ("output", "plain", "coloured"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m"),
        (b"\x1b[38:2::1:2:3mred\x1b[m", "red", "\x1b[38:2::1:2:3mred\x1b[m"),
        (b"\x1b[31mred", "red", "\x1b[31mred\x1b[0m"),
        (b"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        (b"\x1b]0;title\x1b\\", "\\x1b]0;title\\x1b\\", "\\x1b]0;title\\x1b\\"),
        (b"\x1b[2J\x1b[1A", r"\x1b[2J\x1b[1A", r"\x1b[2J\x1b[1A"),
        (b"\x1b[?25m", r"\x1b[?25m", r"\x1b[?25m"),
        (b"\xc2\x9b31m", r"\x9b31m", r"\x9b31m"),
        (b"50%\r100%\tdone\x07\n", "50%\r100%\tdone\\x07\n", "50%\r100%\tdone\\x07\n"),
        (b"\xff\xc3", r"\xff\xc3", r"\xff\xc3"),
        ("a\u202eb\u2028c\u200dd\xa0e".encode(), "a\\u202eb\\u2028c\u200dd\xa0e", "a\\u202eb\\u2028c\u200dd\xa0e"),
    ],
)
def test_colours_pass_and_everything_else_is_shown(output: bytes, plain: str, coloured: str) -> None:
    assert filtered([output], colours=False) == plain
    assert filtered([output], colours=True) == coloured


def test_a_whole_text_is_filtered_at_once() -> None:
    assert safe("\x1b[31mé\x1b[2K", colours=False) == "é\\x1b[2K"
