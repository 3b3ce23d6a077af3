"""The command line as a user meets it: exit codes, stdout against stderr, errors that say what mends them."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.make import trace
from tunix_rt.cli.main import main


@dataclass
class Done:
    """What a command left: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs `tunix-rt` on a home of its own: its real entry point, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
        self.environment = kept | {"TUNIX_RT_HOME": str(folder / "home"), "COLUMNS": "200"}

    def __call__(self, *words: object) -> Done:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        argv = ["tunix-rt", *map(str, words)]
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", argv),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        assert isinstance(ended.value.code, int)
        texts = (stream.buffer.getvalue().decode() for stream in (out, err))
        return Done(ended.value.code, *texts)

    def json(self, *words: object) -> Any:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with 200 traces and a data set of them."""
    found = Shell(tmp_path_factory.mktemp("shell"))
    found.json("traces", "generate", "addition", "--count", 200, "--seed", 1)
    found.json("datasets", "build", "sums", "--source", "addition", "--split", "eval=0.2")
    return found


def test_a_data_set_is_built_listed_shown_and_exported(shell: Shell, tmp_path: Path) -> None:
    [manifest] = shell.json("datasets", "list", "--name", "sums")
    assert manifest["trace_count"] == 200
    assert shell.json("datasets", "show", "sums-v1") == manifest
    whole = shell("datasets", "export", "sums-v1").stdout
    assert len(whole.splitlines()) == 200
    done = shell("datasets", "export", "sums-v1", "-o", tmp_path / "out.jsonl")
    assert (done.stdout, (tmp_path / "out.jsonl").read_text()) == ("", whole)


def test_building_again_gives_the_same_version(shell: Shell) -> None:
    assert shell.json("datasets", "build", "sums", "--source", "addition", "--split", "eval=0.2")["version"] == "v1"


def test_an_export_that_fails_leaves_no_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text("before")
    for path in (tmp_path / "new.jsonl", tmp_path / "kept.jsonl"):
        assert shell("datasets", "export", "sums-v1", "--format", "nope", "-o", path).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept.jsonl"]
    assert (tmp_path / "kept.jsonl").read_text() == "before"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["dataset"], 2, "Did you mean 'datasets'?"),
        (["datasets", "build"], 2, "Missing argument"),
        (["datasets", "build", "../x"], 1, "/name"),
        (["datasets", "build", "x", "--split", "eval"], 2, "not key=value"),
        (["datasets", "build", "x", "--split", "eval=much"], 1, "between 0 and 1"),
        (["datasets", "build", "x", "--filter", "min_stepz=3"], 1, "min_stepz"),
        (["datasets", "build", "x", "--filter", "q=nosuchword"], 1, "Dataset is empty"),
        (["datasets", "build", "sums", "--version", "v1", "--limit", "3"], 4, "never changes"),
        (["datasets", "show", "none-v1"], 3, "no data set"),
        (["datasets", "audit", "sums-v1", "--tokenizer", "none"], 3, "no tokenizer folder"),
        (["train", "none.yaml"], 3, "no config file"),
        (["train"], 1, "--dataset KEY"),
        (["train", "--dataset", "none-v1"], 3, "no data set"),
        (["train", "--dataset", "sums-v1", "--set", "learning_rat=1"], 1, "Did you mean 'learning_rate'?"),
        (["train", "--dataset", "sums-v1", "--set", "model_id=nowhere"], 3, "no model folder"),
        (["train", "--dataset", "sums-v1", "--set", "data.max_length=20"], 1, "overlong"),
        (["train", "--dataset", "sums-v1", "--resume"], 2, "--output"),
        (["traces", "import", "none.jsonl"], 3, "no file"),
    ],
)
def test_a_mistake_is_told_with_its_exit_code(shell: Shell, words: list[str], code: int, says: str) -> None:
    done = shell(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    told = shell(*words, "--json")
    assert told.returncode == code
    assert set(json.loads(told.stdout)["error"]) == {"code", "detail", "hint"}


def test_a_refused_training_leaves_nothing_behind(shell: Shell) -> None:
    done = shell("train", "--dataset", "sums-v1", "--output", "refused", "--set", "data.max_length=20")
    assert done.returncode == 1
    assert "row 1 (" in done.stderr
    assert not (shell.folder / "refused").exists()


def test_a_folder_in_use_is_not_overwritten(shell: Shell) -> None:
    (shell.folder / "mine").mkdir()
    (shell.folder / "mine" / "thesis.txt").write_text("years of work")
    done = shell("train", "--dataset", "sums-v1", "--output", "mine")
    assert (done.returncode, "other files" in done.stderr) == (4, True)
    assert (shell.folder / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_audit_of_a_refused_data_set_exits_1_and_names_the_rows(shell: Shell) -> None:
    lines = [json.dumps(trace(1)), json.dumps(trace(2, prompt="§§§"))]
    (shell.folder / "two.jsonl").write_text("\n".join(lines))
    shell.json("traces", "import", "two.jsonl", "--source", "two")
    shell.json("datasets", "build", "two", "--source", "two")
    shell.json("datasets", "build", "one", "--source", "two", "--filter", "meta.number=1")
    run = shell.folder / "tokenizer-run"
    shell.json("train", "--dataset", "one-v1", "--output", run, "--set", "steps=0")
    assert shell("datasets", "audit", "one-v1", "--tokenizer", run / "tokenizer").returncode == 0
    done = shell("datasets", "audit", "two-v1", "--tokenizer", run / "tokenizer", "--show", 1)
    assert done.returncode == 1
    assert "unknown_character" in done.stderr
    assert "⟦Reasoning:" in done.stdout
    told = shell("datasets", "audit", "two-v1", "--tokenizer", run / "tokenizer", "--json")
    assert (told.returncode, json.loads(told.stdout)["ok"]) == (1, False)


def test_the_plan_trains_and_keeps_nothing(shell: Shell) -> None:
    before = _files(shell.folder / "home")
    found = shell.json("train", "--dataset", "sums-v1", "--plan", "--set", "epochs=2", "--set", "batch_size=16")
    rows = found["ledger"]["train"]["rows"]
    assert found["plan"]["steps"] == round(2 * rows["trained"] / 16)
    assert found["config"]["batch_size"] == 16
    assert found["plan"]["memory_bytes"]["parameters"] == found["plan"]["parameters"] * 4
    half = shell.json("train", "--dataset", "sums-v1", "--plan", "--set", "precision=bfloat16")
    assert half["plan"]["memory_bytes"]["optimizer"] == found["plan"]["parameters"] * 8  # float32 all the same
    assert _files(shell.folder / "home") == before


def _files(folder: Path) -> list[Path]:
    """All but what SQLite keeps beside its database while somebody has it open."""
    return sorted(path for path in folder.rglob("*") if not path.name.endswith(("-wal", "-shm")))


def test_the_database_is_migrated_checked_and_never_emptied_by_accident(tmp_path: Path) -> None:
    own = Shell(tmp_path)
    assert own("db", "upgrade").returncode == 0
    assert own("db", "check").returncode == 0
    assert own("db", "downgrade", "base").returncode == 4
    assert own.json("db", "current")["current"] is not None
    assert own("db", "downgrade", "base", "--yes").returncode == 0
    assert own.json("db", "current")["current"] is None


def test_the_doctor_shows_no_password(tmp_path: Path) -> None:
    own = Shell(tmp_path)
    own.environment["TUNIX_RT_DATABASE_URL"] = "postgresql://me:hunter2@127.0.0.1:1/none"
    done = own("doctor")
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "does not answer" in done.stdout


def test_a_server_and_the_embedded_database_answer_alike(shell: Shell) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tunix_rt.cli.main", "serve", "--port", "0", "--workers", "0"],
        env=shell.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        url = server.stderr.readline().split()[-1]
        away = Shell(shell.folder)
        away.environment = shell.environment | {"TUNIX_RT_URL": url, "TUNIX_RT_HOME": str(shell.folder / "elsewhere")}
        assert away.json("datasets", "show", "sums-v1") == shell.json("datasets", "show", "sums-v1")
        assert away("datasets", "export", "sums-v1").stdout == shell("datasets", "export", "sums-v1").stdout
        assert away("datasets", "show", "none-v1").returncode == 3
    finally:
        server.terminate()
        server.wait(240)
    done = away("datasets", "list")
    assert (done.returncode, "Is the server running?" in done.stderr) == (1, True)
