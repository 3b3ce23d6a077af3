"""A run's process: started in a group of its own, followed, stopped when asked, and never left behind."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunix_rt.base.db import DATABASE_DOWN
from tunix_rt.base.tasks import undisturbed
from tunix_rt.base.wake import Wake
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.lifeline import Lifeline
from tunix_rt.runs import logs, states
from tunix_rt.runs.follow import Follower, Update
from tunix_rt.runs.states import CHANNEL, RunStatus
from tunix_rt.training import malloc

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.03
"""Between two looks at what the process wrote: three calls of the operating system each."""
LET_GO_SECONDS = 2.0
"""How long a transaction may take to end once its job is lost."""
UNASKED_SECONDS = 1.0

Why = Literal["cancel", "timeout", "drain"]


@dataclass(frozen=True)
class Exit:
    """How a process ended.

    Attributes:
        code: its exit code; minus the number of the signal that killed it.
        asked: why it was asked to stop; None: it ended by itself.
        killed: it did not stop within the grace.
    """

    code: int
    asked: Why | None
    killed: bool


async def execute(
    command: Sequence[str],
    follower: Follower,
    lease: Lease,
    grace_seconds: float,
    timeout_seconds: float | None,
) -> Exit:
    """Run a process to its end, whatever happens.

    Its stdout and stderr are files of the run's folder. A pipe that it inherits tells it that we live
    (`training.lifeline`); when we do not, it ends itself. Cancelling this call kills the whole group.

    Args:
        command: what to run; gets TUNIX_RT_LIFELINE_FD and TUNIX_RT_LIFELINE_SECONDS.
        follower: of the run's folder.
        lease: of the run's job; its claim numbers the log files.
        grace_seconds: from SIGTERM to SIGKILL.
        timeout_seconds: from now; None: no limit.
    """
    folder, file = follower.folder, lease.job.claim
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    lifeline = Lifeline(lease)
    try:
        with (
            logs.path_of(folder, file, "stdout").open("ab") as out,
            logs.path_of(folder, file, "stderr").open("ab") as err,
            _wishes_held_back(),
        ):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=lifeline.environment | malloc.environment(),  # which a training would begin again for
                pass_fds=[lifeline.descriptor],
                start_new_session=True,
            )
    except BaseException:
        lifeline.cut()
        raise
    finally:
        lifeline.inherited()
    log.info("process started", extra={"pid": process.pid, "file": file})
    watch = _Watch(process, follower, lease, grace_seconds, timeout_seconds)
    lifeline.beat()
    try:
        await watch.until_ended()
    finally:
        signal_group(process.pid, signal.SIGKILL)  # what it has left behind, and itself where we were cancelled
        await process.wait()
        lifeline.cut()
    await watch.store(final=True)
    _force_to_disk(folder, file)
    assert process.returncode is not None, "it was waited for"
    log.info("process ended", extra={"exit_code": process.returncode, "asked": watch.asked})
    return Exit(process.returncode, watch.asked, watch.killed)


class _Watch:
    def __init__(
        self,
        process: asyncio.subprocess.Process,
        follower: Follower,
        lease: Lease,
        grace_seconds: float,
        timeout_seconds: float | None,
    ) -> None:
        self.process, self.follower, self.lease = process, follower, lease
        self.grace_seconds = grace_seconds
        self.deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self.files = [(lease.job.claim, stream) for stream in logs.STREAMS]
        self.asked: Why | None = None
        self.killed = False
        self._heard = 0  # number of the last wish that was passed on
        self._kill_at: float | None = None

    async def until_ended(self) -> None:
        ended = asyncio.create_task(self.process.wait())
        try:
            async with Wake(self.lease.database, CHANNEL) as wake:
                woken = asyncio.create_task(wake.wait(UNASKED_SECONDS))
                try:
                    while not ended.done():
                        started = time.monotonic()
                        await self.store()
                        if woken.done():
                            woken = asyncio.create_task(wake.wait(UNASKED_SECONDS))
                            await self._ask_what_is_wished()
                        self._stop_where_due()
                        # A slow database is not asked more often: looking takes a third of the time at most.
                        pause = max(LOOK_SECONDS, 2 * (time.monotonic() - started))
                        await asyncio.wait({ended}, timeout=min(pause, 0.25))
                finally:
                    woken.cancel()
        finally:
            ended.cancel()

    async def store(self, final: bool = False) -> None:
        """Store what is new; while the database does not answer, it stays in the files."""
        while (new := self.follower.look(self.files, final)) is not None:
            try:
                await undisturbed(self._store(new), LET_GO_SECONDS)
            except DATABASE_DOWN as error:
                log.warning("logs and metrics could not be stored yet", extra={"reason": type(error).__name__})
                if not final:
                    return
                await asyncio.sleep(0.5)  # until the heartbeat gives up
                continue
            if not final:
                return

    async def _store(self, new: Update) -> None:
        async with self.lease.write("follow") as session:
            await self.follower.store(session, new)
        self.follower.advance(new)

    async def _ask_what_is_wished(self) -> None:
        try:
            async with self.lease.database.read() as session:
                last = await states.newest(session, self.follower.run_number)
        except DATABASE_DOWN:
            return
        if last.after == RunStatus.CANCEL_REQUESTED:
            self._stop("cancel")
        elif last.before == last.after == RunStatus.RUNNING and last.number > self._heard:
            self._heard = last.number
            if self.asked is None:  # else it saves one as it ends
                log.info("process asked for a checkpoint")
                with contextlib.suppress(ProcessLookupError):
                    self.process.send_signal(signal.SIGUSR1)

    def _stop_where_due(self) -> None:
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self._stop("timeout")
        if self.lease.stop.is_set():
            self._stop("drain")
        if self._kill_at is not None and now >= self._kill_at and not self.killed:
            self.killed = True
            signal_group(self.process.pid, signal.SIGKILL)

    def _stop(self, why: Why) -> None:
        if self.asked is None:
            self.asked = why
            self._kill_at = time.monotonic() + self.grace_seconds
            log.info("process asked to stop", extra={"why": why})
            signal_group(self.process.pid, signal.SIGTERM)
        elif why == "cancel":
            self.asked = why


@contextlib.contextmanager
def _wishes_held_back() -> Iterator[None]:
    """A process that is started meanwhile is not killed by SIGUSR1 before it listens, when it lets it in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process and all that it has started; nothing where it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of zombies
        os.killpg(pid, number)


def _force_to_disk(folder: Path, file: int) -> None:
    for stream in logs.STREAMS:
        descriptor = os.open(logs.path_of(folder, file, stream), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
