"""A dry run's facts: each check by itself, and none taken for made that was not."""

import typing
from pathlib import Path
from typing import Any

import pytest

from tests.training.make import run_folder
from tunix_rt.base import extras
from tunix_rt.base.errors import BadInput, MissingExtra
from tunix_rt.training import check, engines, story
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.signals import Stopped

CHECKS = ("config", "dataset", "ledger", "engine", "device", "plan", "disk")


def oks(found: dict[str, Any]) -> list[bool | None]:
    return [found[name]["ok"] for name in CHECKS]


def test_a_run_that_can_be_trained_is_told_in_facts(tmp_path: Path) -> None:
    found = check.facts(run_folder(tmp_path), "cpu")
    assert list(found) == ["ok", *CHECKS]
    assert (found["ok"], oks(found), check.first_problem(found)) == (True, [True] * 7, None)
    assert found["config"]["steps"] == 24
    assert found["dataset"] == {
        "ok": True,
        "dataset_key": "sums-v1",
        "digest": "sha256:1",
        "splits": {"train": 40, "eval": 10},
    }
    assert (found["ledger"]["train"]["rows"]["trained"], found["ledger"]["eval"]["rows"]["trained"]) == (40, 10)
    assert (found["engine"]["name"], bool(found["engine"]["version"])) == ("tunix", True)
    assert (found["device"]["asked"], found["device"]["found"]) == ("cpu", ["cpu:0 cpu"])
    assert (found["plan"]["steps"], found["plan"]["rows"]) == (24, 40)
    assert found["plan"]["seconds"] > 0
    assert found["disk"]["needed_bytes"] == found["plan"]["disk_bytes"] < found["disk"]["free_bytes"]
    assert "24 steps" in (story.line("check", found) or "")


def test_a_failed_check_leaves_those_that_need_it_unmade_and_the_others_made(tmp_path: Path) -> None:
    found = check.facts(run_folder(tmp_path, data={"max_length": 12}), "cpu")
    assert (found["ok"], oks(found)) == (False, [True, True, False, True, True, None, None])
    assert found["ledger"]["train"]["rows"]["rejected"]
    problem = found["ledger"]["problem"]
    assert (problem["code"], len(problem["faults"])) == ("bad_input", 20)
    assert check.first_problem(found) == problem


def test_a_device_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    found = check.facts(run_folder(tmp_path), "tpu")
    assert oks(found) == [True, True, True, True, False, None, None]
    assert (found["device"]["asked"], found["device"]["found"]) == ("tpu", ["cpu:0 cpu"])
    assert "jax[tpu]" in found["device"]["problem"]["hint"]


def test_data_that_was_changed_are_not_those_of_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    data = tmp_path / "data" / "train.jsonl"
    data.write_bytes(data.read_bytes().replace(b"39", b"93"))
    found = check.facts(run, "cpu")
    assert found["dataset"]["ok"] is False
    assert "SHA-256" in found["dataset"]["problem"]["detail"]


def test_a_config_that_does_not_read_fails_alone(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("stepz: 3\n")
    found = check.facts(run, "cpu")
    assert oks(found) == [False, True, None, None, None, None, None]
    assert "Did you mean 'steps'?" in found["config"]["problem"]["faults"][0]["detail"]


def test_a_disk_that_is_too_small_fails_with_both_figures(tmp_path: Path) -> None:
    large = {"layers": 1, "width": 2048, "hidden": 16_384, "heads": 8, "kv_heads": 8}  # 2 GB of memory, 1.4 TB of disk
    found = check.facts(run_folder(tmp_path, model=large, keep_checkpoints=1000), "cpu")
    assert oks(found) == [True] * 6 + [False]
    assert found["disk"]["needed_bytes"] > found["disk"]["free_bytes"]


def test_a_model_that_does_not_fit_is_refused_with_its_terms_and_before_the_disk_is_looked_at(tmp_path: Path) -> None:
    huge = {"layers": 200, "width": 65_536, "hidden": 262_144, "heads": 512, "kv_heads": 512}
    found = check.facts(run_folder(tmp_path, model=huge), "cpu")
    assert oks(found) == [True] * 5 + [False, None]
    plan = found["plan"]
    assert plan["peak_bytes"] == sum(plan["memory_bytes"].values()) > plan["available_bytes"]
    assert (plan["problem"]["code"], plan["memory_method"]) == ("does_not_fit", "formula")
    assert "optimizer" in plan["problem"]["detail"]


def test_no_evaluation_split_is_none(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (tmp_path / "data" / "eval.jsonl").write_bytes(b"")
    assert check.facts(run, "cpu")["ledger"]["eval"] is None


def test_a_dry_run_heeds_the_wish_to_stop(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        check.facts(run_folder(tmp_path), "cpu", lambda: True)


def test_the_config_names_the_engines_that_are_known() -> None:
    assert typing.get_args(TrainingConfig.model_fields["engine"].annotation) == engines.ENGINES


def test_capabilities_say_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = engines.capabilities()
    assert (found["tunix"].available, found["tunix"].reason) == (True, None)
    assert (found["torch"].available, found["torch"].reason) == (True, None)
    monkeypatch.setattr(extras, "MODULES", dict.fromkeys(engines.ENGINES, ("no_such_library",)))
    missing = engines.capabilities()["tunix"]
    assert (missing.available, missing.hint) == (False, "Install it: pip install 'tunix-rt[tunix]'")
    assert "'no_such_library', which is not installed" in (missing.reason or "")


def test_an_engine_that_is_not_installed_and_one_that_nobody_knows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "MODULES", dict.fromkeys(engines.ENGINES, ("no_such_library",)))
    with pytest.raises(MissingExtra, match="The engine 'torch' needs 'no_such_library'") as caught:
        engines.load("torch")
    assert caught.value.hint == "Install it: pip install 'tunix-rt[torch]'"
    with pytest.raises(BadInput, match=r"no engine 'tunic'\. Did you mean 'tunix'\?"):
        engines.load("tunic")


def test_figures_that_are_not_finite_are_told_as_they_stand_in_the_log() -> None:
    step = {"step": 3, "loss": "NaN", "tokens_per_second": 1000.0}
    assert story.line("step", step, 9) == "step 3/9  loss nan  1,000 tokens/s"
    assert story.line("nothing of ours", {}) is None
