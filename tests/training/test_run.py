"""A training as its user meets it: a real process, stopped by real signals, and gone on with."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.background import ignoring_sigint
from tests.test_cli import Shell
from tests.training.bare import COMMAND
from tunix_rt.training.decoding import Decoding

STEPS = 24
CONFIG = f"""
steps: {STEPS}
batch_size: 4
checkpoint_every_steps: 4
eval_every_steps: 6
accumulation: 2
model: {{layers: 1, width: 16, hidden: 32, heads: 2, kv_heads: 2}}
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A data set, a config, and the run `whole` that nothing disturbed."""
    found = Shell(tmp_path_factory.mktemp("runs"))
    found.json("traces", "generate", "addition", "--count", 60, "--seed", 1)
    found.json("datasets", "build", "sums", "--split", "eval=0.2")
    (found.folder / "config.yaml").write_text(CONFIG)
    done = train(found, "whole", bare=False).communicate(timeout=240)
    assert (found.folder / "whole" / "model").exists(), done
    return found


def train(
    shell: Shell, output: str, *more: str, bare: bool = True, background: bool = False
) -> "subprocess.Popen[str]":
    python = COMMAND if bare else [sys.executable, "-m"]
    words = ["train", "config.yaml", "--dataset", "sums-v1", "--output", output, "--device", "cpu", *more]
    command = [*python, "tunix_rt.cli.main", *words]
    return subprocess.Popen(
        ignoring_sigint(command) if background else command,
        env=shell.environment,
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(shell: Shell, output: str) -> list[dict[str, Any]]:
    path = shell.folder / output / "events.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def until(process: "subprocess.Popen[str]", holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not holds() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def weights(shell: Shell, output: str) -> str:
    return hashlib.sha256((shell.folder / output / "model" / "model.safetensors").read_bytes()).hexdigest()


def losses(shell: Shell, output: str) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events(shell, output) if event["event"] == "step"}


def test_the_run_directory_is_the_one_of_the_format(shell: Shell) -> None:
    folder = shell.folder / "whole"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["dataset"]["dataset_key"] == "sums-v1"
    assert {"train", "eval", "tokenizer", "template", "base_model", "packages", "seed", "command"} <= provenance.keys()
    found = events(shell, "whole")
    assert (found[0]["event"], found[-1]["event"], found[-1]["reason"]) == ("plan", "end", "completed")
    steps = [event for event in found if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, STEPS + 1))
    fields = {"epoch", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second", "step_seconds"}
    assert all(fields <= event.keys() for event in steps)
    assert [event["step"] for event in found if event["event"] == "eval"] == [6, 12, 18, 24]
    for event in found:
        if event["event"] == "checkpoint":
            assert event["path"] == f"checkpoints/step-{event['step']:08d}"
    names = {path.name for path in (folder / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert not list(folder.rglob("*.pkl")) + list(folder.rglob("*.pt")) + list(folder.rglob("*partial*"))


def test_ctrl_c_saves_everything_and_going_on_gives_the_same_bits(shell: Shell) -> None:
    process = train(shell, "stopped")
    until(process, lambda: len(losses(shell, "stopped")) >= 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    stopped = events(shell, "stopped")[-1]
    if stopped["reason"] == "completed":
        pytest.fail("the training ended before the signal reached it: make it longer")
    assert process.returncode == 130, err
    assert "tunix-rt train --resume --output stopped" in err
    assert f"step-{stopped['step']:08d}" in os.listdir(shell.folder / "stopped" / "checkpoints")
    done = train(shell, "stopped", "--resume")
    assert done.communicate(timeout=240)
    assert done.returncode == 0
    assert weights(shell, "stopped") == weights(shell, "whole")
    assert losses(shell, "stopped") == losses(shell, "whole")


def test_ctrl_c_leaves_a_training_alone_that_was_started_in_the_background(shell: Shell) -> None:
    process = train(shell, "background", "--set", "steps=100000", background=True)
    until(process, lambda: len(losses(shell, "background")) >= 3)
    process.send_signal(signal.SIGINT)
    after = len(losses(shell, "background")) + 6
    until(process, lambda: len(losses(shell, "background")) >= after)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    stopped = events(shell, "background")[-1]
    assert (stopped["reason"], stopped["step"] >= after) == ("stopped", True)
    assert f"step-{stopped['step']:08d}" in os.listdir(shell.folder / "background" / "checkpoints")


def test_a_killed_training_goes_on_to_the_same_bits(shell: Shell) -> None:
    process = train(shell, "killed")
    until(process, lambda: len(losses(shell, "killed")) >= 6)
    process.kill()
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    again = train(shell, "killed", "--resume")
    _, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert weights(shell, "killed") == weights(shell, "whole")
    assert losses(shell, "killed") == losses(shell, "whole")


def test_resuming_with_another_config_names_the_difference(shell: Shell) -> None:
    done = shell("train", "config.yaml", "--dataset", "sums-v1", "--output", "whole", "--resume", "--set", "seed=9")
    assert done.returncode == 4
    assert "seed: 0 there, 9 asked" in done.stderr


def test_a_fork_goes_on_from_the_parameters_with_another_config(shell: Shell) -> None:
    words = ("train", "--fork", "whole", "--output", "forked", "--device", "cpu", "--set", "seed=9", "--set", "steps=2")
    done = shell(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 2
    assert losses(shell, "forked")[1] < losses(shell, "whole")[1]
    provenance = json.loads((shell.folder / "forked" / "provenance.json").read_text())
    assert provenance["forked_from"]["step"] == STEPS
    again = shell(*words, "--resume")
    assert again.returncode == 2
    assert "Take one of them" in again.stderr


def test_a_model_folder_without_weights_is_refused_and_leaves_nothing(shell: Shell) -> None:
    base = shell.folder / "no-weights"
    base.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((shell.folder / "whole" / "model" / name).read_bytes())
    done = shell("train", "--dataset", "sums-v1", "--output", "from-nothing", "--set", f"model_id={base}")
    assert done.returncode == 1
    assert "safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tokenizer_that_does_not_match_the_model_is_refused(shell: Shell) -> None:
    base = shell.folder / "mismatch"
    base.mkdir()
    for path in (shell.folder / "whole" / "model").iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": 5}))
    done = shell("train", "--dataset", "sums-v1", "--output", "mismatched", "--set", f"model_id={base}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "embeds only 5" in done.stderr


def test_a_model_answers_with_its_own_tokenizer_and_stop_tokens(shell: Shell) -> None:
    shell("datasets", "export", "sums-v1", "--format", "eval-set", "--split", "eval", "-o", "items.jsonl")
    model = shell.folder / "whole" / "model"
    found = []
    for output in ("one.jsonl", "two.jsonl"):
        words = ("--eval-set", "items.jsonl", "-o", output, "--max-new-tokens", 12, "--temperature", 0.7, "--seed", 5)
        shell.json("generate", "--model", model, *words)
        found.append((shell.folder / output).read_bytes())
    assert found[0] == found[1]
    lines = [json.loads(line) for line in found[0].splitlines()]
    items = [json.loads(line) for line in (shell.folder / "items.jsonl").read_bytes().splitlines()]
    assert [line["id"] for line in lines] == [item["id"] for item in items]
    assert {line["finish_reason"] for line in lines} <= {"stop", "length"}
    assert all(line["completion_tokens"] <= 12 for line in lines)


def test_an_answer_of_nul_bytes_can_be_evaluated(shell: Shell) -> None:
    shell("datasets", "export", "sums-v1", "--format", "eval-set", "--split", "eval", "-o", "items.jsonl")
    model = shutil.copytree(shell.folder / "whole" / "model", shell.folder / "nul-model")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    to_nul = {"type": "Replace", "pattern": {"Regex": r"[\s\S]"}, "content": "\0"}
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [to_nul, {"type": "Fuse"}]}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    shell.json("generate", "--model", model, "--eval-set", "items.jsonl", "-o", "nul.jsonl", "--max-new-tokens", 12)
    outputs = [json.loads(line)["output"] for line in (shell.folder / "nul.jsonl").read_bytes().splitlines()]
    assert set("".join(outputs)) == {"\ufffd"}
    assert shell.json("evaluate", "--eval-set", "items.jsonl", "--predictions", "nul.jsonl")["n_items"] == len(outputs)


def test_two_decodings_of_one_model_do_not_share_a_board(shell: Shell) -> None:
    shell("datasets", "export", "sums-v1", "--format", "eval-set", "--split", "eval", "-o", "held-out.jsonl")
    for name, words in {"greedy": (), "warm": ("--temperature", 1.5, "--seed", 5)}.items():
        words = ("--eval-set", "held-out.jsonl", "-o", f"{name}.jsonl", "--max-new-tokens", 12, *words)
        made = shell.json("generate", "--model", "whole/model", *words)
        meta = json.loads((shell.folder / made["meta"]).read_text())
        content = (shell.folder / f"{name}.jsonl").read_bytes()
        assert meta["predictions"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert {json.loads(line)["decoding"] for line in content.splitlines()} == {meta["decoding_digest"]}
        assert (meta["model"]["name"], meta["model"]["digest"][:7], meta["engine"]["name"]) == (
            "whole",
            "sha256:",
            "tunix",
        )
        assert meta["seed"] == (5 if name == "warm" else 0)
        found = shell.json("evaluate", "--eval-set", "held-out.jsonl", "--predictions", f"{name}.jsonl")
        assert (found["decoding_digest"], found["model_id"]) == (meta["decoding_digest"], "whole")
        assert found["eval_set_digest"] == meta["eval_set"]
    found = {row["name"]: row for board in shell.json("leaderboard")["boards"] for row in board["rows"]}
    assert len({found[name]["decoding_digest"] for name in ("greedy", "warm")}) == 2
    # As the evaluation of a run has it.
    assert found["greedy"]["decoding_digest"] == Decoding(max_new_tokens=12).digest
    done = shell("compare", "--eval-set", "held-out.jsonl", "greedy.jsonl", "warm.jsonl")
    assert (done.returncode, "--across-decodings" in done.stderr) == (4, True)
    done = shell("evaluate", "--eval-set", "held-out.jsonl", "--predictions", "warm.jsonl", "--temperature", 0)
    assert done.returncode == 4
    (shell.folder / "warm.jsonl").write_bytes((shell.folder / "greedy.jsonl").read_bytes())
    done = shell("evaluate", "--eval-set", "held-out.jsonl", "--predictions", "warm.jsonl")
    assert (done.returncode, "warm.jsonl.meta.json does not belong" in done.stderr) == (4, True)


def test_a_training_has_malloc_as_its_plan_counts_on(shell: Shell) -> None:
    process = train(shell, "settled")
    until(process, lambda: bool(events(shell, "settled")))
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    process.kill()
    process.communicate()
    assert b"glibc.malloc.tcache_count=0" in environment
