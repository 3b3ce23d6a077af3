"""A worker process: the one place that knows every job handler."""

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt import migrations, pipeline
from tunix_rt.base import log as logs
from tunix_rt.base import stop_signals
from tunix_rt.base.db import DATABASE_DOWN, Database, explain
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import handlers as evaluation
from tunix_rt.evaluation import judging_job
from tunix_rt.jobs import loop, workers
from tunix_rt.jobs.lease import HeartbeatDead
from tunix_rt.jobs.loop import Handlers
from tunix_rt.runs import handlers as runs
from tunix_rt.runs import status

log = logging.getLogger(__name__)

HEARTBEAT_DEAD, KILLED = 1, 137


def handlers(database: Database, settings: Settings, command: runs.Command = runs.training_command) -> Handlers:
    """Who does which kind of job."""
    bases = functools.partial(pipeline.base_folder, database, settings.home)
    return {
        runs.KIND: runs.RunHandler(database, settings, command, pipeline.completed, bases=bases),
        evaluation.KIND: evaluation.EvaluateHandler(database, settings, pipeline.behind),
        judging_job.KIND: judging_job.JudgeHandler(database, settings),
    }


def main(
    settings: Settings,
    name: str | None = None,
    parent_fd: int | None = None,
    command: runs.Command = runs.training_command,
) -> int:
    """Claim and do jobs until asked to stop.

    SIGTERM, SIGINT, or the death of the parent that holds the other end of `parent_fd`, drains: nothing more is
    claimed, and the present run checkpoints and goes back to the queue. A second SIGINT (Ctrl-C) kills its process at
    once; the run is requeued when its lease runs out. A SIGINT that was ignored at the start stays ignored.

    Args:
        settings: read once, passed down.
        name: how others shall call this worker; default: host and process.
        parent_fd: a pipe that ends when its parent does.
        command: what a run starts; the training child.

    Returns:
        The exit code: 0 after a drain, 1 when the heartbeat died, 137 after a second SIGINT.

    Raises:
        Unavailable: the database does not answer, or is not at this release's version.
    """
    logs.configure(settings)
    worker = _Worker(settings, name or f"{socket.gethostname()}-{os.getpid()}", command)
    with logs.bind(worker=worker.name):
        return asyncio.run(worker.run(parent_fd))


class _Worker:
    def __init__(self, settings: Settings, name: str, command: runs.Command) -> None:
        self.settings, self.name, self.command = settings, name, command
        self.stop = asyncio.Event()
        self.offers: dict[str, Any] = {}

    async def run(self, parent_fd: int | None) -> int:
        database = Database(self.settings.sqlalchemy_url, self.settings.lease_seconds)
        try:
            await migrations.prepare(self.settings, database)
            return await self._serve(database, parent_fd)
        finally:
            await database.close()

    async def _serve(self, database: Database, parent_fd: int | None) -> int:
        self.offers = status.offers()
        try:
            async with database.write("register") as session:
                identity = await workers.register(session, self.name, self.offers)
        except DATABASE_DOWN as error:
            raise explain(error) from error

        async def beat(session: AsyncSession, job_number: int | None) -> None:
            await workers.beat(session, identity, job_number, self.offers, self.stop.is_set())
            taken = database.write_durations.take()
            try:
                await workers.add_durations(session, taken)
            except BaseException:
                database.write_durations.give_back(taken)
                raise

        known = handlers(database, self.settings, self.command)
        lease_seconds = self.settings.lease_seconds
        beside = [
            asyncio.create_task(self._probe()),
            asyncio.create_task(loop.keep_reaping(database, known, lease_seconds)),
        ]
        claiming = asyncio.create_task(
            loop.run(database, known, self.name, self._available, lease_seconds, self.stop, beat)
        )
        with self._told_to_stop(claiming, parent_fd):
            log.info("worker ready", extra={"engines": ",".join(self._available()) or "none"})
            try:
                await claiming
            except HeartbeatDead as dead:  # it stays registered, silent: the database is out of reach
                log.error("the heartbeat died: the worker stops itself", extra={"reason": str(dead)})
                logging.shutdown()
                os._exit(HEARTBEAT_DEAD)  # its run's process is dead; all else may wait for the database for ever
            except asyncio.CancelledError:
                return KILLED
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(*DATABASE_DOWN):
                async with database.write("register") as session:
                    await workers.remove(session, identity)
            log.info("worker ended")
            return 0

    def _available(self) -> list[str]:
        return [name for name, engine in self.offers.items() if engine["available"]]

    async def _probe(self) -> None:
        """Look for devices in a process of its own: loading an engine takes seconds, which jobs need not wait for."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "tunix_rt.training.probe",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = await process.communicate()
            self.offers = json.loads(out)
        except ValueError:
            log.warning("the devices could not be found", extra={"exit_code": process.returncode})
            return
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        log.info("engines", extra={name: ",".join(e["devices"]) or e["reason"] for name, e in self.offers.items()})

    @contextlib.contextmanager
    def _told_to_stop(self, claiming: "asyncio.Task[None]", parent_fd: int | None) -> Any:
        events = asyncio.get_running_loop()

        def drain(why: str) -> None:
            if not self.stop.is_set():
                log.info("draining", extra={"why": why})
                self.stop.set()

        def signalled(number: int) -> Callable[[], None]:
            def told() -> None:
                if self.stop.is_set() and number == signal.SIGINT:
                    claiming.cancel()
                drain(signal.Signals(number).name)

            return told

        def parent_said() -> None:
            if os.read(parent_fd or 0, 4096) == b"":
                events.remove_reader(parent_fd or 0)
                drain("the server that started it is gone")

        numbers = stop_signals.caught()
        for number in numbers:
            events.add_signal_handler(number, signalled(number))
        if parent_fd is not None:
            events.add_reader(parent_fd, parent_said)
        try:
            yield
        finally:
            if parent_fd is not None:
                events.remove_reader(parent_fd)
            for number in numbers:
                events.remove_signal_handler(number)
