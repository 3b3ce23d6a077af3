"""Printed commands: pasted into a shell in the current folder, they run the same program with the same words."""

import subprocess
from pathlib import Path

import pytest

from tunix_rt.cli.shell_command import command

PROGRAM = """#!/bin/sh
printf '%s\\n' "$@" "home=$TUNIX_RT_HOME" "url=$TUNIX_RT_URL" "database=$TUNIX_RT_DATABASE_URL"
"""
WORDS = ("traces", "it's $HOME;", "a b", "*", 5)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my tools" / ".venv" / "bin" / "tunix-rt"
    path.parent.mkdir(parents=True)
    path.write_text(PROGRAM)
    path.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(path), "demo"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("TUNIX_RT_HOME", "TUNIX_RT_URL", "TUNIX_RT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return path


def run(line: str) -> list[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("folder", "written"),
    [("my tools", ".venv/bin/tunix-rt "), ("my tools/.venv/bin", "./tunix-rt "), ("elsewhere", "'/")],
)
def test_the_program_is_named_by_its_path(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, written: str
) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / folder)
    line = command(*WORDS)
    assert line.startswith(written)
    assert run(line) == [*map(str, WORDS), "home=", "url=", "database="]


def test_a_program_on_the_path_is_named_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    line = command(*WORDS)
    assert line.startswith("tunix-rt traces ")
    assert run(line)[: len(WORDS)] == [*map(str, WORDS)]


def test_another_program_of_the_name_on_the_path_is_not_taken(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "tunix-rt"
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run(command("demo"))[0] == "demo"


@pytest.mark.usefixtures("program")
def test_paths_are_written_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command(tmp_path / "a b" / "c", Path("/else/d")))[:2] == ["a b/c", "/else/d"]


@pytest.mark.usefixtures("program")
def test_a_home_is_kept_and_another_database_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNIX_RT_HOME", "/it's mine")
    monkeypatch.setenv("TUNIX_RT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TUNIX_RT_DATABASE_URL", "sqlite:///other.db")
    own, other = run(command("demo")), run(command("serve", home=tmp_path))
    assert own == ["demo", "home=/it's mine", "url=http://127.0.0.1:1", "database=sqlite:///other.db"]
    assert other == ["serve", f"home={tmp_path}", "url=", "database="]
