"""The training child as a process: `python -m tunix_rt.training.process FOLDER [--device KIND] [--plan]`.

Trains a run directory from its newest checkpoint, where it has one. Tells the story on stdout, what went wrong on
stderr, and everything in events.jsonl, whose last event of an attempt is always `end`. Its exit codes:

    0    completed
    2    refused, or failed for a reason that another attempt would meet again
    75   the machine's: no space, no memory, something does not answer; another attempt may go well
    130  stopped by SIGTERM or SIGINT, with its checkpoint
    1    a fault that nobody has foreseen, with its traceback

SIGUSR1 saves a checkpoint after the present step.
"""

import argparse
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import DiskFull, Fault, NotFound, Problem, Unavailable
from tunix_rt.training import lifeline, malloc, signals, story
from tunix_rt.training.record import FAULTS, recorded

COMPLETED, UNEXPECTED, REFUSED, MACHINE, STOPPED = 0, 1, 2, 75, 130
STEP_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and return the exit code."""
    stopping, saving = signals.install(), signals.install_saving()
    asked = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        lifeline.hold()
        if not asked.folder.is_dir():
            raise NotFound(f"There is no run directory {asked.folder}.")

        def work(emit: Callable[..., None]) -> dict[str, Any]:
            if asked.plan:
                return _plan(asked.folder, asked.device, emit, stopping)
            return _train(asked.folder, asked.device, emit, stopping, saving)

        ending = recorded(asked.folder, _Teller(), work)
    except Problem as problem:
        _complain(problem.detail, problem.hint, problem.faults)
        return MACHINE if isinstance(problem, DiskFull | Unavailable) else REFUSED
    except KeyboardInterrupt:
        return STOPPED
    except Exception:  # the last stand: a bug of ours, or a library's error that we cannot name yet
        _say(traceback.format_exc().rstrip(), sys.stderr)
        return UNEXPECTED
    if ending["reason"] == "failed":
        _complain(ending["detail"], ending["hint"], [Fault(**fault) for fault in ending["faults"]])
    return {"completed": COMPLETED, "stopped": STOPPED, "failed": REFUSED}[ending["reason"]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunix_rt.training.process", description="Train a run directory.")
    parser.add_argument("folder", type=Path, help="the run directory; goes on from its newest checkpoint")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu", "tpu"], default="auto")
    parser.add_argument("--plan", action="store_true", help="check everything and train nothing")
    return parser


# The imports in these two take seconds, in which a signal must be heard and a failure leave its event already.


def _train(
    path: Path, device: str, emit: Callable[..., None], stopping: Callable[[], bool], saving: Callable[[], bool]
) -> dict[str, Any]:
    from tunix_rt.training import child

    return asdict(child.attempt(_opened(path), device, emit, stopping, saving))


def _plan(path: Path, device: str, emit: Callable[..., None], stopping: Callable[[], bool]) -> dict[str, Any]:
    from tunix_rt.training import check

    try:
        found = check.facts(_opened(path), device, stopping)
    except signals.Stopped:
        return {"reason": "stopped", "step": 0}
    emit("check", **found)
    problem = check.first_problem(found)
    return {"reason": "completed"} if problem is None else {"reason": "failed", **problem}


def _opened(path: Path) -> Any:
    from tunix_rt.training.folder import RunFolder

    if not (path / "config.yaml").exists():
        raise NotFound(f"{path} holds no run: there is no config.yaml.")
    return RunFolder(path)


class _Teller:
    """Prints a line of each event; of steps, one a second and the last."""

    def __init__(self) -> None:
        self._total: int | None = None
        self._said = -STEP_SECONDS
        self._held: str | None = None

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        if event == "plan":
            self._total = fields["steps"]
        line = story.line(event, fields, self._total)
        if event == "step":
            now = time.monotonic()
            if now - self._said < STEP_SECONDS and fields["step"] != self._total:
                self._held = line
                return
            self._said, self._held = now, None
        elif event == "end":
            if self._held:
                _say(self._held, sys.stdout)
            if fields["reason"] == "failed":  # stderr says that
                return
        if line:
            _say(line, sys.stdout)


def _complain(detail: str, hint: str | None, faults: Sequence[Fault]) -> None:
    lines = [f"Error: {detail}", *(f"  {fault.pointer}: {fault.detail}" for fault in faults[:FAULTS])]
    _say("\n".join([*lines, f"  {hint}"] if hint else lines), sys.stderr)


def _say(text: str, stream: Any) -> None:
    try:
        print(text, file=stream)
    except OSError:
        # Nobody reads any more, or the log's disk is full. The record is events.jsonl: a training does not end for
        # what it has to tell, nor does its exit code change when the interpreter flushes its streams.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    malloc.settle(sys.argv[1:])
    sys.exit(main())
