"""`tunix-rt traces`, as a person meets it: what is printed, where errors point, what Ctrl-C keeps."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.make import trace
from tests.traces.conftest import Cli
from tunix_rt.cli import trace_import
from tunix_rt.traces import stream


def jsonl(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_file_goes_in_and_comes_out_again(cli: Cli, tmp_path: Path) -> None:
    given = jsonl(tmp_path / "in.jsonl", *map(trace, range(3)))
    code, out, err = cli("import", given, "--source", "me")
    assert (code, out.split("(")[0]) == (0, "3 created, 0 already present, 0 rejected ")
    assert "Next: tunix-rt traces list" in err
    code, out, _ = cli("import", given, "--json")
    assert (code, json.loads(out)["already_present"]) == (0, 3)
    whole = tmp_path / "new" / "out.jsonl"
    assert cli("export", "-o", whole)[:2] == (0, f"3 traces in {whole}\n")
    code, out, err = cli("export", "--source", "me")
    assert (code, out, err) == (0, whole.read_text(), "")
    assert json.loads(cli("import", whole, "--json")[1])["already_present"] == 3


def test_a_bad_line_is_named_as_file_and_line(cli: Cli, tmp_path: Path) -> None:
    given = jsonl(tmp_path / "bad.jsonl", trace(1), trace(2, prompt=""), trace(3))
    code, out, err = cli("import", given)
    assert (code, out) == (1, "")
    assert f"{given}:2: prompt: String should have at least 1 character" in err
    assert "--on-error skip" in err
    code, out, err = cli("import", given, "--on-error", "skip")
    assert (code, out.split("(")[0]) == (0, "2 created, 0 already present, 1 rejected ")
    assert f"{given}:2: prompt: " in err
    code, out, err = cli("import", given, "--json")
    assert code == 1
    assert f"{given}:2: " in json.loads(out)["error"]["detail"]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("nothing-here.jsonl", 3, "There is no file"),
        ("folder", 1, "is a folder"),
        ("empty.jsonl", 1, "there is no trace in it"),
        ("array.json", 1, "jq -c"),
        ("binary", 1, "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(cli: Cli, tmp_path: Path, name: str, code: int, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "array.json").write_text(json.dumps([trace(1)], indent=1))
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    found, out, err = cli("import", tmp_path / name)
    assert (found, out) == (code, "")
    assert says in err
    assert str(tmp_path / name) in err


def test_skipping_everything_is_no_success(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("import", jsonl(tmp_path / "bad.jsonl", 1, 2), "--on-error", "skip")
    assert code == 1
    assert "2 rejected" in out


def test_traces_are_generated_listed_and_found(cli: Cli) -> None:
    assert cli("generate", "addition", "--count", 30, "--seed", 1, "--option", "digits=2")[:2] == (
        0,
        "30 created, 0 already present\n",
    )
    rows = json.loads(cli("list", "--limit", 7, "--meta", "digits=2", "--json")[1])
    assert len(rows) == 7
    assert len(json.loads(cli("list", "--limit", 1000, "--json")[1])) == 30
    code, out, _ = cli("list", "--source", "addition", "--limit", 2)
    assert (code, len(out.splitlines())) == (0, 3)
    code, out, err = cli("list", "-q", "nosuchword")
    assert (code, out) == (0, "")
    assert "No trace matches" in err
    assert "addition" in cli("sources")[1]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["generate", "adition", "--count", 1], 3, "Did you mean 'addition'?"),
        (["generate", "addition", "--count", 1, "--option", "digit=1"], 1, "digits"),
        (["generate", "addition", "--count", 1, "--option", "digits"], 2, "not KEY=VALUE"),
        (["generate", "addition"], 2, "--count"),
        (["list", "--meta", "x"], 2, "not KEY=VALUE"),
        (["list", "--created-after", "yesterday"], 1, "created_after"),
        (["show", "zzz"], 1, "not the id of a trace"),
        (["show", "0123456789"], 3, "no trace"),
        (["compare", "0123456789", "0123456789"], 3, "no trace"),
        (["import", "x", "--on-error", "ignore"], 2, "ignore"),
        (["delete", "../../health"], 3, "nothing at"),
    ],
)
def test_a_wrong_call_has_its_exit_code_and_says_why(cli: Cli, words: list[Any], code: int, says: str) -> None:
    found, out, err = cli(*words)
    assert (found, out) == (code, "")
    assert says in err
    found, out, _ = cli(*words, "--json")
    assert found == code
    assert says in json.loads(out)["error"]["detail"] + str(json.loads(out)["error"]["hint"])


def test_a_trace_is_shown_scored_compared_and_deleted_by_the_beginning_of_its_id(cli: Cli, tmp_path: Path) -> None:
    hostile = trace(1, prompt="red \x1b[31m alert", steps=[{"i": 0, "type": "t", "content": "2 + 2 = 5"}])
    cli(
        "import", jsonl(tmp_path / "in.jsonl", trace(1, steps=[{"i": 0, "type": "t", "content": "2 + 2 = 4"}]), hostile)
    )
    other, base = (row["id"] for row in json.loads(cli("list", "--json")[1]))
    short = next(other[:n] for n in range(6, 37) if not base.startswith(other[:n]))
    code, out, _ = cli("show", short)
    assert code == 0
    assert "red \\x1b[31m alert" in out
    assert "\x1b[31m" not in out
    assert json.loads(cli("score", short, "--json")[1])["score"] == 5.9
    assert "score (baseline): 5.9" in cli("show", short)[1]
    assert "2 + 2 = [-4-]{+5+}" in cli("compare", base, other)[1]
    assert cli("delete", short)[:2] == (0, f"Deleted {other}\n")
    assert cli("show", other)[0] == 3
    assert cli("show", base[:6])[0] == 0


def test_ctrl_c_keeps_whole_batches_and_says_so(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = jsonl(tmp_path / "in.jsonl", *map(trace, range(100)))
    monkeypatch.setattr(stream, "BATCH_TRACES", 10)

    async def interrupted(opened: IO[bytes], size: int) -> AsyncIterator[bytes]:
        lines = opened.readlines()
        yield b"".join(lines[:35])
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()  # the person waits no longer

    with monkeypatch.context() as patched:
        patched.setattr(trace_import, "_watched", interrupted)
        for mode, kept in (("stop", 0), ("skip", 30)):
            code, out, err = cli("import", given, "--on-error", mode)
            assert (code, out) == (130, "")
            assert "the same command again" in err
            assert "Task was destroyed" not in err
            assert len(json.loads(cli("list", "--limit", 200, "--json")[1])) == kept
    report = json.loads(cli("import", given, "--json")[1])
    assert (report["created"], report["already_present"]) == (70, 30)


def test_an_export_that_fails_leaves_what_was_there(cli: Cli, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("before")
    assert cli("export", "--created-after", "never", "-o", kept)[0] == 1
    assert kept.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
