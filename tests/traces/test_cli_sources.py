"""The sources of traces on the command line: from a file's name, listed, and set."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.make import trace
from tests.traces.conftest import Cli


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_file_names_the_source_of_its_traces_and_the_command_says_so(cli: Cli, tmp_path: Path) -> None:
    given = write(tmp_path / "train.jsonl", trace(1), trace(2))
    code, _, err = cli("import", given)
    assert code == 0
    assert "source: train (from the file's name; --source NAME to choose another)" in err
    assert "Next: tunix-rt traces list --source train" in err
    assert len(json.loads(cli("list", "--source", "train", "--json")[1])) == 2
    _, _, err = cli("import", write(tmp_path / "own.jsonl", trace(3, meta={"source": "a"}), trace(4)))
    assert "what each line's meta.source says; own (from the file's name) where it says none" in err
    assert "source: said\n" in cli("import", write(tmp_path / "5.jsonl", trace(5)), "--source", "said")[2]
    assert json.loads(cli("import", write(tmp_path / "6.jsonl", trace(6)), "--source", "none", "--json")[1])[
        "source"
    ] == ("none")
    code, out, err = cli("sources", "--stored")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["train", "2"],
        ["a", "1"],
        ["own", "1"],
        ["said", "1"],
        ["none", "1"],
    ]
    assert "set-source NAME --source none" in err


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.b.jsonl", "a.b"),
        ("x" * 240 + ".jsonl", "x" * 200),
        ("ta\tb\x1b.jsonl", "tab"),
        ("caf\u00e9 1.jsonl", "caf\u00e9 1"),
    ],
)
def test_a_source_from_a_files_name_is_printable_and_short(cli: Cli, tmp_path: Path, name: str, source: str) -> None:
    assert json.loads(cli("import", write(tmp_path / name, trace(1)), "--json")[1])["source"] == source


def test_a_file_whose_name_is_no_text_is_imported_too(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("import", write(tmp_path / "caf\udce9.jsonl", trace(1)), "--json")
    assert (code, json.loads(out)["source"]) == (0, "caf\ufffd")


def test_a_pipe_gives_no_source(cli: Cli, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write, args=(pipe, trace(1)))
    writer.start()
    code, _, err = cli("import", pipe)
    writer.join()
    assert code == 0
    assert "source: none\n" in err


def test_standard_input_gives_no_source_even_if_it_is_a_file(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tunix_rt.cli.main", "traces", "import", "/dev/stdin", "--json"]
    with write(tmp_path / "in.jsonl", trace(1)).open("rb") as given:
        environment = os.environ | {"TUNIX_RT_HOME": str(home)}
        done = subprocess.run(command, stdin=given, capture_output=True, env=environment, check=True)
    assert json.loads(done.stdout)["source"] == "none"


def test_sources_are_set_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    cli("import", write(tmp_path / "in.jsonl", *map(trace, range(5))), "--source", "none")
    ids = [row["id"] for row in json.loads(cli("list", "--json")[1])]
    assert cli("set-source", "few", *ids[:2])[:2] == (0, "2 changed, 0 had this source already\n")
    assert cli("set-source", "few", "-q", "What", "--source", "none")[1] == "3 changed, 0 had this source already\n"
    assert json.loads(cli("set-source", "few", "--all", "--json")[1]) == {"changed": 0, "unchanged": 5}
    assert cli("set-source", "none", "--meta", "number=3")[1].startswith("1 changed")
    code, _, err = cli("set-source", "x", "--source", "nothing")
    assert code == 0
    assert "No trace matches" in err
    _, out, err = cli("import", write(tmp_path / "in.jsonl", *map(trace, range(5))))
    assert out.startswith("0 created, 5 already present")
    assert "1 of those already present had no source and have it now." in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["few"], 2, "Say which traces"),
        (["few", "0123456", "--all"], 2, "Say which traces"),
        (["few", "0123456", "--source", "a"], 2, "Say which traces"),
        (["few", "0123456"], 3, "no trace"),
        (["few", "zz"], 1, "not the id of a trace"),
        (["few", "--meta", "x"], 2, "not KEY=VALUE"),
        (["", "--all"], 1, "at least 1 character"),
        ([], 2, "SOURCE"),
    ],
)
def test_a_wrong_call_says_why(cli: Cli, words: list[str], code: int, says: str) -> None:
    found, out, err = cli("set-source", *words)
    assert (found, out) == (code, "")
    assert says in err
