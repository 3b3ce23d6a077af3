"""`tunix-rt gate` and `baselines` as CI meets them: exit codes, files, summary, the documented workflow."""

import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.evaluation.make import answers, jsonl, questions
from tests.test_cli import Shell
from tunix_rt.cli import gate_files
from tunix_rt.cli.main import root

DOCS = Path(__file__).parents[2] / "docs" / "gates.md"
HOSTILE = "</code>|`<img src=x onerror=alert(1)>` @everyone [x](javascript:alert(1)) www.evil.example \x1b[2J\u202e"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with a baseline and evaluations that pass, fail and cannot tell."""
    found = Shell(tmp_path_factory.mktemp("gate"))
    (found.folder / "sums.jsonl").write_bytes(jsonl(questions(200)))
    for name, right in {"base": 150, "good": 170, "bad": 100, "near": 145}.items():
        rows = answers(200, right=lambda i, k=right: i < k)  # type: ignore[misc]  # k is bound to each turn's
        rows[0]["output"] += "" if name != "bad" else f"\nAnswer: {HOSTILE}"
        (found.folder / f"{name}.jsonl").write_bytes(jsonl(rows))
        made = found.json("evaluate", "--eval-set", "sums.jsonl", "--predictions", f"{name}.jsonl")
        (found.folder / name).write_text(made["id"])
    found.json("baselines", "set", "main", "--evaluation", id_of(found, "base"))
    return found


def id_of(shell: Shell, name: str) -> str:
    return (shell.folder / name).read_text()


@pytest.mark.parametrize(
    ("name", "verdict", "code", "inside"),
    [("good", "pass", 0, None), ("bad", "fail", 5, "failure"), ("near", "inconclusive", 6, "error")],
)
def test_the_exit_code_and_the_files_say_the_verdict(
    shell: Shell, name: str, verdict: str, code: int, inside: str | None
) -> None:
    files = ("--junit", f"out/{name}.xml", "--markdown", f"out/{name}.md")
    done = shell("gate", "--baseline", "main", "--evaluation", id_of(shell, name), *files)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(f"{verdict}: {name} against main")
    suites = ET.parse(shell.folder / "out" / f"{name}.xml").getroot()  # noqa: S314  # written by ourselves
    case = suites.find("testsuite/testcase")
    assert case is not None
    assert [child.tag for child in case if child.tag != "system-out"] == ([inside] if inside else [])
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == (
        "1", str(int(code == 5)), str(int(code == 6)),
    )  # fmt: skip
    summary = (shell.folder / "out" / f"{name}.md").read_text()
    assert summary.startswith(f"## Gate: {verdict}\n")
    assert "| n | 200 |" in summary


def test_json_has_the_figures_and_keeps_the_exit_code(shell: Shell) -> None:
    done = shell("gate", "--baseline", "main", "--evaluation", id_of(shell, "bad"), "--json")
    assert done.returncode == 5
    assert '"verdict":"fail"' in done.stdout.replace(" ", "")
    assert shell("gate", "--baseline", "main", "--evaluation", id_of(shell, "bad"), "--margin", 0.5).returncode == 0


def test_what_a_model_wrote_does_nothing_in_the_summary_and_the_junit_file(shell: Shell) -> None:
    item = {
        "id": HOSTILE, "change": "broken", "expected_answer": "1",
        "base": {"extracted": "1"}, "other": {"extracted": HOSTILE + "\x00\ud800" + "x" * 10_000},
    }  # fmt: skip
    found = shell.json("gate", "--baseline", "main", "--evaluation", id_of(shell, "good")) | {"items": [item]}
    found["verdict"], found["evaluation"]["name"] = "fail", HOSTILE
    row = next(line for line in gate_files.markdown(found).splitlines() if line.startswith("| <code>broken"))
    assert row.count("|") == 6
    assert re.sub(r"</?code>|&#\d+;", "", row).strip("| ").replace("|", "").replace(" ", "").isalnum()
    assert len(row) < 4_000
    assert "@" not in row + gate_files.markdown(found).splitlines()[2]
    text = gate_files.junit(found).encode("utf-8")
    assert ET.fromstring(text).find("testsuite/testcase/failure") is not None  # noqa: S314
    assert b"\x1b" not in text


def test_baselines_are_set_and_listed(shell: Shell) -> None:
    shell.json("baselines", "set", "other", "--evaluation", id_of(shell, "good"), "--margin", 0.05)
    listed = {row["name"]: row for row in shell.json("baselines", "list")}
    assert listed["other"]["margin"] == 0.05
    assert listed["main"]["evaluation"] == "base"
    assert "main" in shell("baselines", "list").stdout


def test_a_wrong_call_says_what_mends_it(shell: Shell) -> None:
    done = shell("gate", "--baseline", "mian", "--evaluation", id_of(shell, "good"))
    assert (done.returncode, "Did you mean 'main'?" in done.stderr) == (3, True)
    assert shell("gate", "--baseline", "main").returncode == 2
    assert shell("gate", "--baseline", "main", "--evaluation", "a" * 8, "--run", "b" * 8).returncode == 2
    done = shell("gate", "--baseline", "main", "--evaluation", id_of(shell, "good"), "--junit", "sums.jsonl/x.xml")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


# --- the documented workflow ------------------------------------------------------------------------------------


def workflow() -> list[dict[str, Any]]:
    """The steps of both examples."""
    first, second = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    document = yaml.safe_load(first)
    assert set(document) >= {"name", "jobs"}
    steps: list[dict[str, Any]] = document["jobs"]["gate"]["steps"]
    more: list[dict[str, Any]] = yaml.safe_load(second)
    return steps + more


def commands() -> list[list[str]]:
    lines = [line for step in workflow() for line in step.get("run", "").splitlines()]
    lines += [
        line for block in re.findall(r"```\n(.*?)```", DOCS.read_text(), re.DOTALL) for line in block.splitlines()
    ]
    lines = [line for line in lines if line.startswith("tunix-rt ")]
    return [shlex.split(line.split(" > ")[0], comments=True)[1:] for line in lines]


def test_the_documented_commands_are_understood() -> None:
    found = commands()
    assert {line[0] for line in found} == {"evaluate", "gate", "baselines"}
    for line in found:
        command: click.Command = root
        context, words = click.Context(root), line
        while isinstance(command, click.Group):
            name, chosen, words = command.resolve_command(context, words)
            assert chosen is not None
            command, context = chosen, click.Context(chosen, info_name=name, parent=context)
        command.parse_args(context, words)


def test_the_documented_workflow_keeps_what_it_found_when_the_gate_fails() -> None:
    steps = workflow()
    gate = next(place for place, step in enumerate(steps) if step.get("name") == "Gate")
    assert all(step.get("if") == "always()" for step in steps[gate + 1 :] if step.get("name") != "New baseline")
    assert {"--junit", "--markdown"} <= set(steps[gate]["run"].split())
