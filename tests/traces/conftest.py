"""The command line in this process, on a home of its own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tunix_rt.cli import main as entry

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "tunix-rt.db").write_bytes(sqlite_template.read_bytes())
    return folder


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `tunix-rt traces …` in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("TUNIX_RT_HOME", str(home))

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tunix-rt", "traces", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            entry.main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, err

    return run
