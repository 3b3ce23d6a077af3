"""What each engine finds on this machine, asked in processes of their own: whoever asks never imports jax.

    python -m tunix_rt.training.probe

prints one JSON document: `{engine: {available, version, devices, reason}}`. Loading a broken library may raise
anything, hang, or end its process; here it is a reason.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tunix_rt.base.errors import Problem, cut
from tunix_rt.training import engines

SECONDS = 120.0


def ask(timeout_seconds: float = SECONDS, names: Sequence[str] = engines.ENGINES) -> dict[str, dict[str, Any]]:
    """Load each engine in a process of its own.

    Args:
        timeout_seconds: longest wait for one engine; a device that another process holds may block for ever.
        names: of the engines.

    Returns:
        By engine: `available`, `version` (None where its library is not installed), `devices` (as
        `platform:index kind`), `reason` (why it is not available; None where it is).
    """
    return {name: _asked(name, timeout_seconds) for name in names}


def _asked(name: str, timeout_seconds: float) -> dict[str, Any]:
    known = engines.capabilities()[name]
    if not known.available:
        return _found(name, [], f"{known.reason} {known.hint}")
    command = [sys.executable, "-P", "-m", "tunix_rt.training.probe", name]  # -P: no jax.py of the folder we are in
    # A GPU whose memory a training holds can still be told.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _found(name, [], f"Loading it took longer than {timeout_seconds:g} seconds.")
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = cut((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        return _found(name, [], f"Loading it ended the process with code {done.returncode}: {said}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _loaded(name: str) -> dict[str, Any]:
    try:
        return _found(name, engines.load(name).devices("auto"), None)
    except Problem as problem:
        return _found(name, [], f"{problem.detail} {problem.hint or ''}".strip())
    except Exception as error:  # a broken library raises what it likes
        return _found(name, [], f"Loading it failed: {type(error).__name__}: {cut(str(error))}")


def _found(name: str, devices: list[str], reason: str | None) -> dict[str, Any]:
    version = engines.capabilities()[name].version
    return {"available": reason is None, "version": version, "devices": devices, "reason": reason}


if __name__ == "__main__":
    print(json.dumps(_loaded(sys.argv[1]) if len(sys.argv) > 1 else ask()))
