"""The lifeline with real processes: who hangs on it ends when the worker cannot look after it any more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

# A child that hangs on its lifeline, with a child of its own; both hold stdout.
CHILD = """
import subprocess, sys, time
from tunix_rt.training import lifeline
assert lifeline.hold()
inner = subprocess.Popen([sys.executable, "-c", "import time; print('grandchild', flush=True); time.sleep(600)"])
time.sleep(600)
"""
# A worker that feeds a child; it holds neither of the child's streams.
WORKER = """
import os, subprocess, sys, time
child, seconds = sys.argv[1:]
end, pipe = os.pipe()
environment = os.environ | {"TUNIX_RT_LIFELINE_FD": str(end), "TUNIX_RT_LIFELINE_SECONDS": seconds}
subprocess.Popen([sys.executable, "-c", child], env=environment, pass_fds=[end], start_new_session=True)
os.close(end), os.close(1), os.close(2)
while True:
    os.write(pipe, b".")
    time.sleep(0.05)
"""


@contextmanager
def child(code: str, seconds: str, own_group: bool = True) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A child that runs `code`, and our end of its lifeline."""
    end, pipe = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TUNIX_RT_LIFELINE_FD": str(end), "TUNIX_RT_LIFELINE_SECONDS": seconds},
        pass_fds=[end],
        start_new_session=own_group,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(end)
    try:
        yield process, pipe
    finally:
        with suppress(OSError):
            os.close(pipe)
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_worker_that_is_gone_takes_the_child_and_its_children_along() -> None:
    with child(CHILD, "600") as (process, pipe):
        assert line(process) == b"grandchild\n"
        os.close(pipe)
        _, err = process.communicate(timeout=240)  # ends when nobody holds stdout: the grandchild neither
    assert process.returncode == -signal.SIGKILL
    assert b"lifeline: the worker is gone" in err


def test_a_child_lives_while_bytes_come_and_ends_when_they_do_not() -> None:
    with child(CHILD, "4") as (process, pipe):
        assert line(process) == b"grandchild\n"
        until = time.monotonic() + 5  # longer than the child may wait for a byte
        while time.monotonic() < until:
            os.write(pipe, b".")
            time.sleep(0.1)
        assert process.poll() is None
        _, err = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert b"no sign of the worker for 4 seconds" in err


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_that_is_frozen_or_killed_takes_the_child_along(end: signal.Signals) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, CHILD, "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert line(worker) == b"grandchild\n"
        worker.send_signal(end)
        assert worker.stdout is not None
        assert worker.stderr is not None
        assert worker.stdout.read() == b""  # ends when the child and the grandchild have
        assert b"Killed by the lifeline" in worker.stderr.read()
    finally:
        worker.kill()
        worker.communicate()


def test_a_child_that_leads_no_group_ends_alone() -> None:
    code = "import time; from tunix_rt.training import lifeline; lifeline.hold(); time.sleep(600)"
    with child(code, "600", own_group=False) as (process, pipe):
        os.close(pipe)
        assert process.wait(timeout=240) == 137


def test_a_full_log_of_a_frozen_worker_does_not_keep_the_child_alive() -> None:
    fills = "import os, time; os.set_blocking(2, False)\ntry:\n  while True: os.write(2, b'x' * 4096)\n"
    fills += "except BlockingIOError: os.set_blocking(2, True)\n"
    code = fills + "from tunix_rt.training import lifeline; lifeline.hold(); print(1, flush=True); time.sleep(600)"
    with child(code, "600") as (process, pipe):
        assert line(process) == b"1\n"
        os.close(pipe)
        assert process.wait(timeout=240) == -signal.SIGKILL


@pytest.mark.parametrize(("descriptor", "seconds"), [("77", "1"), ("x", "1"), ("0", "nan"), ("0", "-1")])
def test_a_lifeline_that_is_none_is_refused(descriptor: str, seconds: str) -> None:
    code = (
        "from tunix_rt.training import lifeline\ntry: lifeline.hold()\nexcept Exception as e: print(type(e).__name__)"
    )
    environment = {"TUNIX_RT_LIFELINE_FD": descriptor, "TUNIX_RT_LIFELINE_SECONDS": seconds}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)
    assert done.stdout == "WrongUsage\n"


def test_without_a_lifeline_nothing_is_held() -> None:
    code = "from tunix_rt.training import lifeline; import threading; print(lifeline.hold(), threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False 1\n"
