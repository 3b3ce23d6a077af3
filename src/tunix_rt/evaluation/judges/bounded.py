"""Work that may not end, done in child processes that are killed when it takes too long.

Neither a regular expression nor a computer algebra system can be stopped from outside in Python, and signals reach
the main thread alone. A child serves one question after the other (see `bounded_child`), so that its start is paid
once; one that is killed is replaced when the next question comes. Children get none of our environment.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from typing import Any

_START_SECONDS = 120.0  # to import what it needs, on a busy machine


class TookTooLongError(Exception):
    """The work was not done in time, and its process was ended."""


class WorkFailedError(Exception):
    """The work raised, or took its process down."""


class Bounded:
    """A function of another process with a time limit; may be called from several threads.

    Args:
        function: `module:name`; its arguments and its result are JSON.
        seconds: for one call.
        children: processes at most; further callers wait.
    """

    def __init__(self, function: str, seconds: float, children: int = 1) -> None:
        self.function, self.seconds = function, seconds
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(children):
            self._idle.put(None)

    def __call__(self, *arguments: Any) -> Any:
        """Do the work.

        Raises:
            TookTooLongError: it took more than `seconds`.
            WorkFailedError: it raised, or its process ended.
        """
        child = self._idle.get()
        try:
            if child is None:
                child = _Child(self.function)
            answer = child.ask(arguments, self.seconds)
        except BaseException:
            if child is not None:
                child.close()
            child = None
            raise
        finally:
            self._idle.put(child)
        if "error" in answer:
            raise WorkFailedError(answer["error"])
        return answer["value"]


class _Child:
    def __init__(self, function: str) -> None:
        environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-W", "ignore", "-m", "tunix_rt.evaluation.judges.bounded_child", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.close = weakref.finalize(self, _end, self.process)
        self._answer(None, _START_SECONDS)

    def ask(self, arguments: tuple[Any, ...], seconds: float) -> dict[str, Any]:
        """The answer to one question."""
        return self._answer(json.dumps(arguments).encode() + b"\n", seconds)

    def _answer(self, question: bytes | None, seconds: float) -> dict[str, Any]:
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None, "opened as a pipe"
        assert stdout is not None, "opened as a pipe"
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            if question is not None:
                stdin.write(question)
                stdin.flush()
            line = stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if late.is_set():
            raise TookTooLongError
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise WorkFailedError("its process ended: out of memory?") from None
        return answer


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not written is of no use to a dead process
                stream.close()
    process.wait()
