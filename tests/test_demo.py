"""The demo, at a hundredth of its size: the real commands, in the real order."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest

from tests.test_cli import Shell
from tunix_rt.cli import demo

# Stands in for the installed program; the demo is small there too.
PROGRAM = f"""#!{sys.executable}
import sys
from tunix_rt.cli import main
if "demo" in sys.argv:
    from tunix_rt.cli import demo
    demo.TRACES, demo.HELD_OUT, demo.STEPS, demo.MAX_NEW_TOKENS = 80, 0.3, 20, 8
main.main()
"""


@pytest.fixture
def small() -> object:
    return mock.patch.multiple(demo, TRACES=80, HELD_OUT=0.3, STEPS=10, MAX_NEW_TOKENS=8)


@pytest.mark.long
def test_the_demo_goes_around_the_loop_and_keeps_to_its_own_home(tmp_path: Path, small: mock._patch) -> None:  # type: ignore[type-arg]  # of several names
    shell = Shell(tmp_path)
    shell.environment["TUNIX_RT_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"  # must not reach into it
    with small:
        found = shell.json("demo", "--seed", 3)
    home = Path(found["home"])
    assert home.is_relative_to(tmp_path / "home" / "demo")
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["demo"]
    assert (found["task"], found["seed"]) == ("word-problems", 3)
    assert [model["name"] for model in found["models"]] == ["untrained", "answers", "reasoning"]
    items = (home / "held-out.jsonl").read_bytes().splitlines()
    for model in found["models"]:
        assert model["n"] == len(items)
        low, high = model["ci"]
        assert low <= model["score"] <= high
        run = Path(model["run_dir"])
        assert {"config.yaml", "provenance.json", "events.jsonl", "model", "predictions"} <= {
            p.name for p in run.iterdir()
        }
        predictions, meta = sorted((run / "predictions").iterdir())
        assert json.loads(meta.read_text())["model"]["name"] == model["name"]
        assert len(predictions.read_bytes().splitlines()) == len(items)
    assert {(pair["a"], pair["b"]) for pair in found["comparisons"]} == set(demo.PAIRS)
    assert all({"difference", "ci", "p_value", "verdict"} <= pair.keys() for pair in found["comparisons"])
    answers, reasoning = (
        json.loads((home / "runs" / n / "provenance.json").read_text()) for n in ("answers", "reasoning")
    )
    assert answers["base_model"]["digest"] == reasoning["base_model"]["digest"]  # one start
    assert answers["train"] == reasoning["train"]  # the same examples
    assert answers["template"] != reasoning["template"]


def test_a_failing_command_ends_the_demo_with_its_words(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    with mock.patch.multiple(demo, TASK="no-such-task"):
        done = shell("demo")
    assert done.returncode == 1
    assert "no-such-task" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_without_a_terminal_lines_tell_of_progress_and_the_last_lines_are_commands_that_work(tmp_path: Path) -> None:
    program = tmp_path / "my tools" / ".venv" / "bin" / "tunix-rt"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    folder = tmp_path / "my tools"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")} | {
        "TUNIX_RT_HOME": str(tmp_path / "it's a home"),
        "TUNIX_RT_URL": "http://127.0.0.1:1",
        "TUNIX_RT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "FORCE_COLOR": "1",
    }

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["sh", "-c", command], env=environment, cwd=folder, capture_output=True, text=True)

    done = run(".venv/bin/tunix-rt demo --seed 3")
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stderr)
    for name in ("answers", "reasoning"):
        steps = re.findall(rf"^  {name} +step (\d+) of 20  loss \d+\.\d+  (\d+ s left|trained)", done.stderr, re.M)
        assert 1 <= len(steps) <= 10
        assert steps[-1] == ("20", "trained")
        assert all(left.endswith("s left") for _, left in steps[:-1])

    _, heading, lines = done.stdout.rpartition(f"Go on with these commands, in {folder}:\n")
    assert heading
    purposes, commands = lines.splitlines()[::2], lines.splitlines()[1::2]
    assert all(purpose.endswith(":") and not purpose.startswith(" ") for purpose in purposes)
    assert all(command.startswith("  ") and " .venv/bin/tunix-rt " in command for command in commands)
    [serve] = [command for command in commands if command.endswith(" serve")]
    [another] = [command for command in commands if " demo " in command]
    for command in set(commands) - {serve, another}:
        done = run(command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout
    with first_line(f"{serve} --port 0", environment, folder) as line:  # a test may not count on a port
        [board] = httpx.get(f"{line.split()[-1]}/api/tunix/evaluations", timeout=60).json()["data"]
    assert {row["name"] for row in board["rows"]} == set(demo.MODELS)
    with first_line(another, environment, folder) as line:
        home = re.fullmatch(r"Everything goes to (.*-seed4-\d+)\n", line)
        assert home
        assert Path(home[1]).parent == tmp_path / "it's a home" / "demo"


@contextlib.contextmanager
def first_line(command: str, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Run a command in a shell; yield the first line of its stderr, and end it after that."""
    process = subprocess.Popen(
        ["sh", "-c", command], env=environment, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=240)
