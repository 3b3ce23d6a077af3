"""Going on on purpose from what is not quite the same: another config, or the checkpoint before a damaged one."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.training.make import files, run_folder
from tunix_rt.base.errors import BadInput, Conflict, NotFound
from tunix_rt.training import child, events, folder, signals
from tunix_rt.training.engines import manifests
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.fork import fork
from tunix_rt.training.record import recorded


def train(run: RunFolder) -> dict[str, Any]:
    return recorded(run.path, None, lambda emit: asdict(child.attempt(run, "cpu", emit, signals.never)))


def told(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in events.read(run.events) if event["event"] == kind]


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = run_folder(tmp_path_factory.mktemp("trained"), steps=6, checkpoint_every_steps=2)
    train(run)
    return run


@pytest.fixture
def trained(_trained: RunFolder, tmp_path: Path) -> RunFolder:
    """A run of 6 steps with checkpoints of steps 4 and 6."""
    shutil.copytree(_trained.path, tmp_path / "trained")
    return RunFolder(tmp_path / "trained")


def test_another_config_is_refused_with_the_way_to_go_on_on_purpose(trained: RunFolder) -> None:
    with pytest.raises(Conflict, match=r"learning_rate: 0\.004 there, 0\.001 asked") as caught:
        folder.reopen(trained.path, trained.config.model_copy(update={"learning_rate": 0.001}))
    assert f"--fork {trained.path}" in (caught.value.hint or "")


def test_a_fork_starts_from_the_newest_parameters_with_its_own_config_and_says_so(
    trained: RunFolder, tmp_path: Path
) -> None:
    before = files(trained)
    run = fork(tmp_path / "fork", trained.path, trained.config.model_copy(update={"learning_rate": 1e-5}), "cpu")
    newest = trained.checkpoints()[-1]
    origin = run.provenance["forked_from"]
    assert (origin["run"], origin["step"]) == (str(trained.path), 6)
    assert origin["digest"] in (newest / "checkpoint.json").read_text()
    assert run.fingerprint()["forked_from"] == origin["digest"]
    assert train(run)["step"] == 6
    started, source = told(run, "step"), told(trained, "step")
    assert [event["step"] for event in started] == [1, 2, 3, 4, 5, 6]
    assert started[0]["loss"] < source[0]["loss"]
    assert told(run, "plan")[0]["resumed_from"] is None
    again = folder.continue_from(tmp_path / "again", run.path, "fork")  # a fork can be stopped and retried as any run
    assert (again.fingerprint(), train(again)["step"]) == (run.fingerprint(), 6)
    assert files(trained) == before


def test_a_fork_keeps_what_the_parameters_mean(trained: RunFolder, tmp_path: Path) -> None:
    other = trained.config.model_copy(
        update={"model": trained.config.model.model_copy(update={"layers": 2}), "dataset": "another"}
    )
    with pytest.raises(Conflict, match=r"model\.layers: 1 there, 2 asked\n  dataset: 'sums-v1' there"):
        fork(tmp_path / "fork", trained.path, other, "cpu")
    assert not (tmp_path / "fork").exists()
    with pytest.raises(NotFound, match="no run to fork"):
        fork(tmp_path / "fork", tmp_path, trained.config, "cpu")
    with pytest.raises(Conflict, match="holds other files"):
        fork(trained.path, trained.path, trained.config, "cpu")
    shutil.rmtree(trained.path / "checkpoints")
    with pytest.raises(NotFound, match="no checkpoint to fork"):
        fork(tmp_path / "fork", trained.path, trained.config, "cpu")


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(trained: RunFolder) -> None:
    before, whole = (trained.model / "model.safetensors").read_bytes(), told(trained, "step")
    with (trained.checkpoints()[-1] / "state.safetensors").open("r+b") as file:
        file.write(b"x")
    assert train(trained)["step"] == 6
    [warning] = told(trained, "warning")
    assert (warning["kind"], warning["checkpoint"]) == ("checkpoint_damaged", "checkpoints/step-00000006")
    assert told(trained, "plan")[-1]["resumed_from"] == "step-00000004"
    assert [event["loss"] for event in told(trained, "step")[6:]] == [event["loss"] for event in whole[4:]]
    assert (trained.model / "model.safetensors").read_bytes() == before
    manifests.verify(trained.checkpoints()[-1])  # written anew


def test_a_run_without_a_whole_checkpoint_is_refused(trained: RunFolder, tmp_path: Path) -> None:
    for path in trained.checkpoints():
        (path / "checkpoint.json").unlink()
    with pytest.raises(BadInput, match=r"step-00000006 is damaged: checkpoint\.json is missing"):
        train(trained)
    with pytest.raises(BadInput, match=r"step-00000006 is damaged"):
        fork(tmp_path / "fork", trained.path, trained.config, "cpu")


def test_what_goes_by_the_evaluation_loss_needs_rows_for_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path, keep_best=True, early_stopping_evals=3)
    (tmp_path / "data" / "eval.jsonl").write_bytes(b"")
    with pytest.raises(BadInput, match="keep_best and early_stopping_evals: the evaluation loss decides"):
        child.account(run).refuse()
