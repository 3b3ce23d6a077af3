"""`tunix-rt worker` as a process: how signals end it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.background import ignoring_sigint


@pytest.mark.parametrize("background", [False, True])
def test_ctrl_c_drains_a_worker_unless_it_was_started_in_the_background(tmp_path: Path, background: bool) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
    command = [sys.executable, "-m", "tunix_rt.cli.main", "worker"]
    process = subprocess.Popen(
        ignoring_sigint(command) if background else command,
        env=kept | {"TUNIX_RT_HOME": str(tmp_path / "home")}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any("worker ready" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        if background:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    [draining] = [line for line in said.splitlines() if "draining" in line]
    assert ("SIGTERM" if background else "SIGINT") in draining
