"""Environment, devices, and processes: what is set before jax, and that it makes trainings repeatable."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.training.make_engine import Events, train
from tunix_rt.base.errors import BadInput
from tunix_rt.training.engines import checkpoints, jax_environment, load

ROOT = Path(__file__).parents[2]
CACHE_DIR = "JAX_COMPILATION_CACHE_DIR"


def _run(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )


def _events(child: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    for line in child.stdout:
        yield json.loads(line)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Events]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(folder)[1]


def _losses(events: list[dict[str, Any]]) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events if event["event"] == "step"}


def test_a_training_that_is_killed_twice_ends_bit_for_bit_as_one_that_is_not(
    tmp_path: Path, undisturbed: tuple[Path, Events]
) -> None:
    told: dict[int, float] = {}
    # Step 6 is two steps after a checkpoint; the evaluation of step 8 comes right before the next one is written.
    for last in (("step", 6), ("eval", 8)):
        with _run("-m", "tests.training.bare", "tests.training.make_engine", str(tmp_path)) as child:
            for event in _events(child):
                told |= _losses([event])
                if (event["event"], event.get("step")) == last:
                    child.send_signal(signal.SIGKILL)
                    break
        assert child.returncode == -signal.SIGKILL
        assert not (tmp_path / "model").exists()
    newest = checkpoints.listed(tmp_path)[-1]
    resumed = train(tmp_path, resume_from=newest)[1]
    assert told | resumed.losses() == undisturbed[1].losses()
    assert told.keys() >= set(range(1, 9))
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        undisturbed[0] / "model" / "model.safetensors"
    ).read_bytes()


def test_another_process_that_compiles_anew_trains_bit_for_bit_the_same(
    tmp_path: Path, undisturbed: tuple[Path, Events]
) -> None:
    with _run("-m", "tests.training.bare", "tests.training.make_engine", str(tmp_path), **{CACHE_DIR: ""}) as child:
        assert _losses(list(_events(child))) == undisturbed[1].losses()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        undisturbed[0] / "model" / "model.safetensors"
    ).read_bytes()


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_DIR, "/elsewhere")
    before = jax.config.jax_compilation_cache_dir
    jax_environment.prepare_environment()
    assert os.environ[CACHE_DIR] == "/elsewhere"
    assert jax.config.jax_compilation_cache_dir == before


def test_the_cache_lies_with_the_users_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = jax_environment.compilation_cache()
    assert cache.parent == tmp_path / "tunix-rt"
    monkeypatch.setattr(jax_environment, "threads", lambda: 99)
    assert jax_environment.compilation_cache() != cache  # programs of another machine are not for this one


def test_preparing_the_environment_imports_no_jax() -> None:
    check = (
        "import sys; from tunix_rt.training.engines.jax_environment import prepare_environment; "
        "prepare_environment(); print('jax' in sys.modules)"
    )
    with _run("-c", check) as child:
        assert child.communicate()[0].strip() == "False"


@pytest.fixture
def same_device() -> Iterator[None]:
    """Give back the device that jax computes on."""
    before = jax.config.jax_default_device
    yield
    jax.config.update("jax_default_device", before)


@pytest.mark.usefixtures("same_device")
def test_devices_are_told_by_kind() -> None:
    engine = load("tunix")
    assert engine.devices("cpu") == ["cpu:0 cpu"]
    assert engine.devices("auto")


@pytest.mark.parametrize(("wanted", "hint"), [("gpu", "jax[cuda13]"), ("tpu", "jax[tpu]")])
def test_a_device_that_is_not_there_is_refused_with_the_way_to_it(wanted: str, hint: str) -> None:
    if any(device.platform == wanted for device in jax.devices()):
        pytest.skip(f"this machine has a {wanted}")
    with pytest.raises(BadInput, match=f"JAX has no {wanted} here. There is: cpu:0 cpu") as caught:
        load("tunix").devices(wanted)
    assert hint in (caught.value.hint or "")
    assert "Kaggle" in (caught.value.hint or "")


def test_an_unknown_kind_of_device_is_refused() -> None:
    with pytest.raises(BadInput, match="no kind of device 'npu'"):
        load("tunix").devices("npu")
