"""The probe: what each engine finds here, and a broken library as a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_probe_tells_each_engine_in_one_document() -> None:
    command = [sys.executable, "-m", "tunix_rt.training.probe"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    found = json.loads(done.stdout)
    assert (found["tunix"]["available"], found["tunix"]["devices"]) == (True, ["cpu:0 cpu"])
    assert found["tunix"]["version"]
    assert (found["torch"]["available"], found["torch"]["reason"]) == (True, None)


@pytest.mark.parametrize(
    ("library", "says"),
    [
        ("raise RuntimeError('built for another processor')", "RuntimeError: built for another processor"),
        ("raise ImportError('libcuda.so.1')", "libcuda.so.1"),
        ("import os; os.abort()", "code -6"),
    ],
)
def test_a_broken_library_is_a_reason(tmp_path: Path, library: str, says: str) -> None:
    (tmp_path / "jax.py").write_text(library)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "tunix_rt.training.probe"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["tunix"]
    assert found["available"] is False
    assert says in found["reason"]
