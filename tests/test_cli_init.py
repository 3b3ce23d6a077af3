"""`tunix-rt init`: a config that trains on the machine that it was written for, and the hints that lead to it."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.make import TINY
from tests.test_cli import Shell
from tests.training.make import run_folder, tokenizer_folder, trace
from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.training import config, examples, starter
from tunix_rt.training.config import ModelDimensions
from tunix_rt.training.engines import architecture, model_folder

GIB = 2**30


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with a data set."""
    found = Shell(tmp_path_factory.mktemp("init"))
    found.json("traces", "generate", "addition", "--count", 60, "--seed", 1)
    found.json("datasets", "build", "sums", "--source", "addition")
    return found


@pytest.fixture(scope="module")
def model(shell: Shell) -> Path:
    """An untrained model that knows the data set's characters."""
    shell.json("train", "--dataset", "sums-v1", "--output", "base", "--set", "steps=0")
    return shell.folder / "base" / "model"


def big_model(folder: Path, **dimensions: Any) -> Path:
    """What is read of a large model's folder before it is trained: everything but its weights."""
    tokenizer_folder(folder, trace())
    d = architecture.from_scratch(ModelDimensions.model_validate(dimensions), 150_000, 2048)
    model_folder.write_json(folder / "config.json", architecture.to_json(d))
    return folder


@pytest.fixture(scope="module")
def half_billion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the size of Qwen 2.5 0.5B."""
    about = {"layers": 24, "width": 896, "hidden": 4864, "heads": 14, "kv_heads": 2}
    return big_model(tmp_path_factory.mktemp("big"), family="qwen2", **about)


@pytest.mark.parametrize("engine", ["tunix", "torch"])
def test_the_config_that_is_written_passes_its_plan(shell: Shell, model: Path, engine: str) -> None:
    found = shell.json("init", f"{engine}.yaml", "--engine", engine)
    assert (found["engine"], found["available"], found["device"]) == (engine, True, "cpu")
    assert (found["method"], found["warnings"]) == ("full", [])
    adapted = shell.json("init", f"{engine}-lora.yaml", "--engine", engine, "--model-id", "base/model")
    assert (adapted["method"], adapted["model_id"]) == ("lora", str(model))
    for written in (found, adapted):
        done = shell(*shlex.split(written["next"].replace("KEY", "sums-v1"))[1:])
        assert done.returncode == 0, done.stderr


def test_it_says_what_it_chose_and_why_and_leaves_an_existing_file_alone(shell: Shell) -> None:
    (shell.folder / "mine.yaml").write_text("steps: 3\n")
    done = shell("init", "mine.yaml", "--engine", "torch")
    assert (done.returncode, "--force" in done.stderr) == (4, True)
    assert (shell.folder / "mine.yaml").read_text() == "steps: 3\n"
    done = shell("init", "mine.yaml", "--engine", "torch", "--dataset", "sums-v1", "--force")
    assert (done.returncode, done.stdout) == (0, "mine.yaml\n")
    assert "engine torch: on cpu:0 cpu, with" in done.stderr
    assert "model_id scratch: " in done.stderr
    assert "Next: tunix-rt train mine.yaml --plan" in done.stderr
    assert config.load(shell.folder / "mine.yaml").dataset == "sums-v1"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["."], 4, "is a folder"),
        (["none.yaml", "--model-id", "nowhere"], 3, "nowhere"),
        (["none.yaml", "--example", "cpu_smok"], 2, "cpu_smoke"),
        (["--example", "cpu_smoke", "--engine", "torch"], 2, "as it is"),
        (["mine.yaml/below.yaml", "--example", "cpu_smoke"], 1, "cannot be written"),
    ],
)
def test_a_mistake_writes_nothing(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    own = Shell(tmp_path)
    (tmp_path / "mine.yaml").touch()
    done = own("init", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_hint_for_a_config_that_is_not_there_makes_the_command_work(shell: Shell, tmp_path: Path) -> None:
    shell.folder, before = tmp_path, shell.folder  # a folder without configs/, as a user of the wheel has it
    try:
        for path in ("configs/cpu_smoke.yaml", "mine/own file.yaml"):
            plan = ("train", path, "--dataset", "sums-v1", "--plan", "--set", "samples=0")
            refused = shell(*plan)
            assert refused.returncode == 3
            hint = shlex.split(refused.stderr.splitlines()[-1].partition("Write it: ")[2])
            assert hint[:2] == ["tunix-rt", "init"]
            assert shell(*hint[1:]).returncode == 0
            assert shell(*plan).returncode == 0
    finally:
        shell.folder = before


def test_each_example_is_copied_as_it_is(shell: Shell) -> None:
    assert "cpu_smoke" in examples.names()
    for name in examples.names():
        found = shell.json("init", "--example", name)
        assert found["path"] == os.path.join("configs", f"{name}.yaml")
        assert (shell.folder / found["path"]).read_text() == examples.read(name)


def test_the_text_is_the_config(half_billion: Path) -> None:
    for engine, device in (("tunix", "cpu"), ("tunix", "tpu"), ("torch", "gpu"), ("torch", "cpu")):
        for model_id in ("scratch", str(half_billion)):
            machine = starter.Machine(engine, None, device, (f"{device}:0 some",), 8 * GIB)
            chosen = starter.choose(machine, model_id, "data-v1")
            assert config.resolve(chosen.text, "text") == chosen.config


def test_a_batch_goes_by_the_free_memory_and_the_devices(half_billion: Path) -> None:
    def on(engine: str, device: str, free: int | None, count: int = 1) -> starter.Starter:
        devices = tuple(f"{device}:{number} some" for number in range(count))
        return starter.choose(starter.Machine(engine, None, device, devices, free), str(half_billion))

    large, small = on("torch", "gpu", 80 * GIB), on("torch", "gpu", 6 * GIB)
    assert (large.config.batch_size, large.config.accumulation, large.fits) == (16, 1, True)
    assert small.config.batch_size < 16
    assert small.config.batch_size * small.config.accumulation == 16
    assert 0.35 * 6 * GIB < small.peak_bytes <= 0.7 * 6 * GIB  # one doubling more would not fit
    assert (large.config.method, large.config.precision) == ("lora", "bfloat16")
    assert on("torch", "cpu", 80 * GIB).config.precision == "float32"
    hopeless = on("torch", "gpu", GIB // 2)
    assert (hopeless.config.batch_size, hopeless.fits) == (1, False)
    unknown = on("tunix", "tpu", None, 8)
    assert (unknown.config.batch_size, unknown.config.accumulation, unknown.fits) == (8, 2, None)


def test_a_folder_that_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    machine = starter.Machine("tunix", None, "cpu", ("cpu:0 cpu",), GIB)
    with pytest.raises(NotFound):
        starter.choose(machine, str(tmp_path / "none"))
    run = run_folder(tmp_path / "run", model=TINY)
    with pytest.raises((BadInput, NotFound)):
        starter.choose(machine, str(run.tokenizer))  # no config.json
