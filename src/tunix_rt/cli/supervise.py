"""Keeps worker processes alive beside the API, and ends them with it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process

from tunix_rt.cli import show

PAUSE_SECONDS = (0.5, 30.0)  # first and longest pause before a worker is started again
STEADY_SECONDS = 60.0  # a worker that lived so long starts with the first pause again
QUIET_SECONDS = 0.5  # a wait at the end that is not worth a word


def command(name: str, parent_fd: int) -> list[str]:
    """How a worker is started."""
    return [
        *(sys.executable, "-m", "tunix_rt.cli.main", "worker"),
        *("--name", name, "--parent-fd", str(parent_fd)),
    ]


class Workers:
    """So many worker processes, each started again when it dies.

    They hear of our end by a pipe whose write end we alone hold: whatever ends us closes it. Each has a session of its
    own, so that Ctrl-C on the terminal reaches us and not them.
    """

    def __init__(self, count: int) -> None:
        self.names = [f"{socket.gethostname()}-{os.getpid()}-{number}" for number in range(1, count + 1)]
        self.alive: dict[str, Process] = {}
        self.stopping = False
        self._keepers: list[asyncio.Task[None]] = []
        self._pipe = os.pipe()  # no child inherits it unless it is told to

    def start(self) -> None:
        """Start them, and go on starting them until `stop`."""
        self._keepers = [asyncio.create_task(self._keep(name)) for name in self.names]

    def stop(self) -> None:
        """Ask them to end: each lets its run checkpoint and puts it back into the queue."""
        self.stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End them at once; their runs are requeued when their leases run out."""
        self.stopping = True
        for process in self.alive.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def gone(self, within_seconds: float) -> None:
        """Wait until all have ended; one that has not in time is killed."""
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._signal(signal.SIGTERM)  # one that was just being started when `stop` came
        if not await self._ended(QUIET_SECONDS):
            show.say(
                f"Waiting up to {within_seconds:.0f} s for {', '.join(self.alive)}: each run makes a checkpoint and "
                "goes back into the queue. Ctrl-C kills them at once."
            )
            if not await self._ended(within_seconds):
                show.say(f"Killing {', '.join(self.alive)}: no end after {within_seconds:.0f} s.")
                self.kill()
                await self._ended(within_seconds)
        for end in self._pipe:
            os.close(end)

    async def _ended(self, within_seconds: float) -> bool:
        waits = [asyncio.create_task(self._reap(name, process)) for name, process in self.alive.items()]
        if waits:
            await asyncio.wait(waits, timeout=within_seconds)
        for wait in waits:
            wait.cancel()
        return not self.alive

    async def _reap(self, name: str, process: Process) -> None:
        await process.wait()
        self.alive.pop(name, None)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.alive.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, name: str) -> None:
        pause = PAUSE_SECONDS[0]
        while not self.stopping:
            began = time.monotonic()
            why = await self._live(name)
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = PAUSE_SECONDS[0]
            show.say(f"Worker {name} {why}; starting it again in {pause:g} s.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS[1])

    async def _live(self, name: str) -> str:
        """Start a worker and wait for its end, which is returned in words."""
        reading, _ = self._pipe
        try:
            process = await asyncio.create_subprocess_exec(
                *command(name, reading),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(reading,),
                start_new_session=True,
            )
        except OSError as error:
            return f"could not be started ({error.strerror})"
        self.alive[name] = process
        code = await process.wait()
        self.alive.pop(name, None)
        return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
