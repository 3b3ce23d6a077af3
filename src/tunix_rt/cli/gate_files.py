"""The result of a gate as files for CI: JUnit XML, and a Markdown summary in which model output can do nothing."""

import re
import xml.etree.ElementTree as ET
from typing import Any

SHOWN = 50  # changed items of a file
_LONGEST = 200  # characters of an answer
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def figures(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures of a check, in the order in which people ask for them."""
    scale, unit = (100, " points") if found["metric"] == "score" else (1, "")

    def number(value: float | None, sign: str = "") -> str:
        return "none" if value is None else f"{scale * value:{sign}.4g}"

    def interval(ci: list[float] | None) -> str:
        return "none" if ci is None else f"{number(ci[0], '+')} to {number(ci[1], '+')}{unit}"

    p_value = "none" if found["p_value"] is None else f"{found['p_value']:.3g}"
    return [
        ("n", f"{found['n']:,}" + ("" if found["established"] else " (not established)")),
        ("metric", f"{found['metric']}, {found['direction']} is better"),
        ("baseline", number(found["base_mean"])),
        ("this", number(found["other_mean"])),
        ("difference", number(found["difference"], "+") + unit),
        ("95 % interval", interval(found["ci"])),
        ("p", f"{p_value} ({found['test']})"),
        ("margin", number(found["margin"]) + unit),
        ("fixed, broken, unchanged", f"{found['fixed']:,}, {found['broken']:,}, {found['unchanged']:,}"),
        ("left out", f"{found['n_left_out']:,}"),
        ("evaluation", found["evaluation"]["id"]),
    ]


def answers(item: dict[str, Any]) -> tuple[str, str]:
    """What both models answered to a changed item."""
    first, second = (item[side]["extracted"] for side in ("base", "other"))
    return "(none)" if first is None else str(first), "(none)" if second is None else str(second)


# --- JUnit ------------------------------------------------------------------------------------------------------


def junit(found: dict[str, Any]) -> str:
    """One test case: a failing gate is a `failure`; an inconclusive one is an `error`, since nothing was shown."""
    verdict = found["verdict"]
    counts = {"tests": "1", "failures": str(int(verdict == "fail")), "errors": str(int(verdict == "inconclusive"))}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "tunix-rt gate", **counts, "skipped": "0"})
    name = f"{found['evaluation']['name']} is not worse than {found['baseline']['name']}"
    case = ET.SubElement(suite, "testcase", {"classname": "tunix-rt.gate", "name": _xml(name)})
    if verdict != "pass":
        kind = "failure" if verdict == "fail" else "error"
        problem = ET.SubElement(case, kind, {"type": verdict, "message": _xml(found["reason"])})
        problem.text = _xml(_text(found))
    ET.SubElement(case, "system-out").text = _xml(_text(found))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _text(found: dict[str, Any]) -> str:
    lines = [_headline(found), found["reason"], *(f"{key}: {value}" for key, value in figures(found))]
    lines += found["notes"]
    lines += [
        f"{item['change']} {item['id']}: {_cut(before)} -> {_cut(after)}"
        for item in found["items"][:SHOWN]
        for before, after in (answers(item),)
    ]
    return "\n".join(lines)


def _headline(found: dict[str, Any]) -> str:
    """The verdict with both names."""
    return f"{found['verdict']}: {found['evaluation']['name']} against {found['baseline']['name']}"


def _xml(text: str) -> str:
    """Without what no XML document may hold, not even escaped."""
    return _NO_XML.sub("\ufffd", text)


# --- Markdown ---------------------------------------------------------------------------------------------------


def markdown(found: dict[str, Any]) -> str:
    """A summary: verdict, figures, the items that changed."""
    lines = [f"## Gate: {found['verdict']}", "", f"{_safe(_headline(found))}", "", found["reason"], ""]
    lines += ["| figure | value |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in figures(found)]
    if found["notes"]:
        lines += ["", *(f"- {_safe(note)}" for note in found["notes"])]
    shown = found["items"][:SHOWN]
    if shown:
        lines += ["", "| change | item | baseline answered | this answered | expected |", "|---|---|---|---|---|"]
        for item in shown:
            cells = (item["change"], item["id"], *answers(item), item["expected_answer"])
            lines.append("| " + " | ".join(f"<code>{_safe(cell)}</code>" for cell in cells) + " |")
        left = len(found["items"]) + found["items_left_out"] - len(shown)
        if left:
            lines += ["", f"… and {left:,} more."]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    """Somebody else's text as itself, on one line: whatever Markdown, HTML or an automatic link could be made of is
    written as a numeric entity."""
    line = "".join(char if char.isprintable() else " " for char in _cut(" ".join(text.split())))
    return "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in line)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
