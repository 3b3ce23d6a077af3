"""What a trace calculates, where it stands, and whether it is right."""

from fractions import Fraction
from typing import Any

import httpx
import pytest

from tests.make import stored, trace
from tunix_rt.evaluation.calculations import check, shown


def marked(text: str, meta: dict[str, Any] | None = None) -> tuple[list[tuple[str, bool | None]], list[str]]:
    found = check(text, meta)
    assert "".join(piece.text for piece in found.pieces) == text
    return [(piece.text, piece.right) for piece in found.pieces], [piece.text for piece in found.apart]


def test_a_calculation_is_found_where_it_stands() -> None:
    pieces, apart = marked("16 - 3 = 13, and 13 × 2 = 27.\nDone.")
    assert pieces == [("16 - 3 = 13", True), (", and ", None), ("13 × 2 = 27", False), (".\nDone.", None)]
    assert apart == []


def test_a_chain_is_cut_where_the_next_goes_on() -> None:
    assert marked("5 + 3 = 8 * 2 = 16.")[0] == [("5 + 3 = 8 * 2", True), (" = 16", True), (".", None)]


def test_a_note_beside_a_calculation_is_checked_too() -> None:
    found = check("He sold 48/2 = <<48/2=23>>24 clips.")
    assert [(piece.text, piece.right) for piece in found.pieces][1] == ("48/2 = <<48/2=23>>24 clips", True)
    assert ("48/2=23", False) in [(piece.text, piece.right) for piece in found.apart]


def test_what_has_other_places_stands_apart() -> None:
    pieces, apart = marked("It is \\frac{18}{2} = 8.\nAnd 1 + 1 = 2.")
    assert [piece for piece in pieces if piece[1] is not None] == [("1 + 1 = 2", True)]
    assert len(apart) == 1


def test_noted_calculations_are_checked_unless_they_stand_in_the_text() -> None:
    meta = {"calculations": [["48/2", "24"], ["3*3", "8"], "odd", [1, 2]]}
    pieces, apart = marked("48 / 2 = 24", meta)
    assert pieces == [("48 / 2 = 24", True)]
    assert apart == ["3*3=8"]


@pytest.mark.parametrize("text", ["", "no number", "x + 3 = 5", "🥚 2 + 2 = 4 🥚", "a\n\n1 + 1 = 3\n", "½ + ½ = 1"])
def test_the_pieces_are_the_text(text: str) -> None:
    marked(text)


def test_values_are_written_as_people_write_them() -> None:
    assert [shown(Fraction(n, d)) for n, d in ((18, 1), (1, 4), (1, 3), (-5, 2))] == ["18", "0.25", "1/3", "-2.5"]


async def test_the_calculations_of_a_stored_trace(api: httpx.AsyncClient) -> None:
    steps = [{"i": 7, "type": "sum", "content": "1 + 1 = 3"}, {"i": 9, "type": "sum", "content": "2 + 2 = 4"}]
    [identity] = await stored(api, trace(1, steps=steps, final_answer="2 * 3 = 6"))
    found = (await api.get(f"/api/traces/{identity}/calculations")).json()
    assert (found["right"], found["wrong"]) == (2, 1)
    assert found["steps"][0]["pieces"] == [{"text": "1 + 1 = 3", "right": False, "value": "2"}]
    assert found["final_answer"]["pieces"][0]["right"] is True
    assert (await api.get("/api/traces/ffffffff/calculations")).status_code == 404
