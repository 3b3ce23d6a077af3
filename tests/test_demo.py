"""The demo, at a hundredth of its size: the real commands, in the real order."""

import json
from pathlib import Path
from unittest import mock

import pytest

from tests.test_cli import Shell
from tunix_rt.cli import demo


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
