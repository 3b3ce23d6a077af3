"""Run directories before training: filled anew after a kill, and made of another run's."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.training.make import files, run_folder, sums
from tunix_rt.base.errors import Problem
from tunix_rt.training import folder
from tunix_rt.training.events import EventLog


def test_what_a_killed_attempt_left_is_removed_but_its_logs(tmp_path: Path) -> None:
    for name in ("logs/worker.log", "data/.train.jsonl.00.partial", "events.jsonl", "checkpoints/step-00000004/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("left")
    run = run_folder(tmp_path)
    assert (tmp_path / "logs" / "worker.log").read_text() == "left"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["eval.jsonl", "train.jsonl"]
    assert (run.events.exists(), run.checkpoints()) == (False, [])
    with pytest.raises(Problem, match="holds a run already"):
        run_folder(tmp_path)


def test_the_lines_of_a_data_set_are_taken_one_at_a_time(tmp_path: Path) -> None:
    def lines() -> Any:
        for number, line in enumerate(sums(0, 2000)):
            if number == 1999:
                assert next((tmp_path / "data").iterdir()).stat().st_size > 0
            yield line

    run_folder(tmp_path, lines())


@pytest.mark.parametrize("links", [True, False])
def test_a_retry_takes_the_whole_checkpoints_and_all_that_they_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuses(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    if not links:
        monkeypatch.setattr(os, "link", refuses)
    source = run_folder(tmp_path / "one")
    for name in ("step-00000004", "step-99999999", "step-100000000", ".step-100000001.0a.partial"):
        (source.path / "checkpoints" / name).mkdir(parents=True)
        (source.path / "checkpoints" / name / "state.safetensors").write_text(name)
    EventLog(source.events).close()
    before = files(source)
    (tmp_path / "two" / "logs").mkdir(parents=True)
    (tmp_path / "two" / "logs" / "worker.log").touch()
    run = folder.continue_from(tmp_path / "two", source.path, "run-1", "gpu")
    taken = {name for name in before if name.startswith(("data/", "tokenizer/", "checkpoints/step-"))}
    assert files(run).keys() == taken | {"logs/worker.log", "config.yaml", "provenance.json"}
    for name in taken:
        one, two = source.path / name, run.path / name
        assert one.samefile(two) is links
        assert one.read_bytes() == two.read_bytes()
    assert (run.fingerprint(), run.config) == (source.fingerprint(), source.config)
    assert (run.provenance["retried_from"], run.provenance["device"]) == ("run-1", "gpu")
    assert files(source) == before
    with pytest.raises(Problem, match="holds a run already"):
        folder.continue_from(run.path, source.path, "run-1")


def test_a_retry_of_a_run_without_checkpoints_starts_anew(tmp_path: Path) -> None:
    source = run_folder(tmp_path / "one")
    run = folder.continue_from(tmp_path / "two", source.path, "one")
    assert (run.checkpoints(), run.fingerprint()) == ([], source.fingerprint())
    assert run.config == source.config
    with pytest.raises(Problem, match="no run to go on from"):
        folder.continue_from(tmp_path / "three", tmp_path, "none")
