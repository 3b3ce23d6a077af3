"""Contenders that take turns: each a process of its own that gets ready once and runs a round when it is told to."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Turns:
    """A contender's side. What its libraries print goes to the errors from here on."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def next(self, measured: Mapping[str, Any]) -> bool:
        """Tell what the last round measured (nothing once it is ready) and wait; false where there is no other one."""
        print(json.dumps(measured), file=self._answers, flush=True)
        return bool(sys.stdin.readline())


class Process:
    """A contender in a process.

    Args:
        command: that serves it.
        log: where its errors go.
        environment: besides ours.

    Attributes:
        ready: what it told once it was ready.

    Raises:
        RuntimeError: it ended before it was ready.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.ready = self._answer()

    def play(self) -> dict[str, Any]:
        """Run a round and give what it measured.

        Raises:
            RuntimeError: it ended instead.
        """
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The contender of {self._log.name} ended:\n{self._log.read_text()[-4000:]}")
        found: dict[str, Any] = json.loads(line)
        return found
