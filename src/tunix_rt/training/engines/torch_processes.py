"""A training by several devices: a process for each, and this one, which looks after them.

This one computes nothing and so waits for nobody: it hears of steps, answers whether to stop, and ends all of them
when one has failed or died, whatever the others wait for. When this one is gone, they end themselves.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from tunix_rt.base.errors import Failed, Problem, Unavailable
from tunix_rt.training import signals
from tunix_rt.training.engines import Job, Outcome, torch_devices, torch_training
from tunix_rt.training.engines.torch_team import Team

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_GRACE_SECONDS = 3.0
_GOES_ON = "Start the run again: it goes on from its newest checkpoint."


@dataclass(frozen=True)
class _Member:
    process: Any
    pipe: Connection


def train(job: Job, mesh: tuple[int, int]) -> Outcome:
    """Train by groups of devices, as `torch_training.train` does by one.

    Raises:
        Unavailable: a process was killed.
        Failed: a process has ended and nobody knows why.
        Exception: whatever ended a process.
    """
    members: list[_Member] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            # The wishes are heard here; there is no moment when they could end a process that does not know them yet.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                members.extend(_start(job, mesh, number, Path(folder) / "meeting") for number in range(math.prod(mesh)))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _look_after(job, members)
        finally:
            for member in members:
                member.process.kill()
                member.process.join()


def _start(job: Job, mesh: tuple[int, int], number: int, meeting: Path) -> _Member:
    context = multiprocessing.get_context("spawn")  # what CUDA was used by cannot be forked
    here, there = context.Pipe()
    mute = replace(job, emit=_tell_nobody, stopping=signals.never, saving=signals.never)
    arguments = (number, mesh, torch_devices.device().type, meeting, mute, there)
    process = context.Process(target=_member, args=arguments, name=f"device {number}", daemon=True)
    process.start()
    there.close()
    return _Member(process, here)


def _look_after(job: Job, members: Sequence[_Member]) -> Outcome:
    """Serve the first member until it has an outcome."""
    computing = {member.pipe: member for member in members}
    while True:
        for pipe in wait(list(computing)):
            member = computing[pipe]  # type: ignore[index]  # wait gives what it got
            kind, content = _heard(member)
            if kind == "emit":
                job.emit(content.pop("event"), **content)
            elif kind == "stopping":
                _answer(member, job.stopping())
            elif kind == "saving":
                _answer(member, job.saving())
            elif kind == "failed":
                raise content if _is_cause(content) else _cause(content, computing)
            elif member is members[0]:
                outcome: Outcome = content
                return outcome
            else:
                del computing[member.pipe]


def _heard(member: _Member) -> tuple[str, Any]:
    """What a member says; that it has failed, with itself, when it is gone."""
    try:
        said: tuple[str, Any] = member.pipe.recv()
    except (EOFError, ConnectionError):
        return "failed", member
    return said


def _answer(member: _Member, wanted: bool) -> None:
    with contextlib.suppress(ConnectionError):  # it is gone, as is heard next
        member.pipe.send(wanted)


def _cause(first: Any, computing: dict[Connection, _Member]) -> Exception:
    """What has ended a training: who loses another one fails too, and may be heard first.

    Args:
        first: an error that a member told, or the member that is gone.
        computing: those that were heard last.
    """
    until, left, ends = time.monotonic() + _GRACE_SECONDS, list(computing), [first]
    while left and (rest := until - time.monotonic()) > 0:
        for pipe in wait(left, rest):
            kind, content = _heard(computing[pipe])  # type: ignore[index]  # wait gives what it got
            if kind in ("failed", "done"):
                left.remove(pipe)  # type: ignore[arg-type]
            if kind == "failed":
                ends.append(content)
    errors = [end for end in ends if isinstance(end, Exception)]
    for member in (end for end in ends if isinstance(end, _Member)):
        member.process.join(_GRACE_SECONDS)
        code = member.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return Unavailable(
                f"The process of {member.process.name} was killed by {name}.",
                hint=f"The system does that where the machine's memory runs out. {_GOES_ON}",
            )
        errors.append(Failed(f"The process of {member.process.name} has ended with code {code}.", hint=_GOES_ON))
    return next(filter(_is_cause, errors), errors[0])


def _is_cause(error: Exception) -> bool:
    """Whether an error is the member's own, not that it has lost another."""
    return isinstance(error, Problem | MemoryError | OSError | torch.OutOfMemoryError)


def _member(
    number: int, mesh: tuple[int, int], kind: str, meeting: Path, job: Job, pipe: "Connection[Any, Any]"
) -> None:
    """The process of a device."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        team = Team(number, mesh, kind, meeting)

        def ask(wish: str) -> bool:
            pipe.send((wish, None))
            return bool(pipe.recv())

        def emit(event: str, **fields: Any) -> None:
            pipe.send(("emit", {"event": event, **fields}))

        mine = replace(
            job,
            emit=emit if team.first else _tell_nobody,
            stopping=lambda: team.agreed(lambda: ask("stopping")),
            saving=lambda: team.agreed(lambda: ask("saving")),
        )
        pipe.send(("done", torch_training.train(mine, team)))
    except Exception as error:  # told where somebody can act on it, whatever it is
        error.add_note(f"In the process of device {number}:\n{traceback.format_exc()}")
        pipe.send(("failed", error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _tell_nobody(event: str, **fields: Any) -> None:
    pass
