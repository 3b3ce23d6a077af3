"""The queue: `python -m benchmarks.queue [--json]`.

Method. `--waits` runs are submitted one after the other by HTTP to a `tunix-rt serve --workers 0`, each when the one
worker process has been idle for a random while; a run's process is a shell that touches a file and reports its end.
Measured from the run's `queued_at` to its `started_at`, and to that file. Claims: `--jobs` jobs that do nothing are
queued, four worker processes are made ready, and then started together. Ours go through `jobs.loop.run`, as all work
does: claim, perform, settle; procrastinate (newest, in an environment of its own) through its own worker with
concurrency 1. The rate is that of the database's own times, from the first claim to the last end; rounds alternate
between the contenders on one PostgreSQL with fsync on a real disk. That each job was done once is checked.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.postgres import Postgres

from benchmarks import servers
from benchmarks.servers import Place
from tunix_rt import worker
from tunix_rt.base.db import Database, now
from tunix_rt.base.settings import Settings
from tunix_rt.jobs import loop, workers
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End
from tunix_rt.runs.logs import folder_of

PROCESSES = 4
NOTHING = ': > started; printf \'{"event":"end","time":"","reason":"completed"}\\n\' >> events.jsonl'
OURS = [sys.executable, "-m", "benchmarks.queue", "--child"]
THEIRS = """
import asyncio, sys
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=sys.argv[2]))
done = []

@app.task(name="nothing", pass_context=True)
async def nothing(context):
    done.append(context.job.id)

async def main():
    async with app.open_async():
        if sys.argv[1] == "fill":
            await app.schema_manager.apply_schema_async()
            await nothing.batch_defer_async(*({} for _ in range(int(sys.argv[3]))))
            return
        print("ready", flush=True)
        sys.stdin.readline()
        await app.run_worker_async(concurrency=1, wait=False, install_signal_handlers=False)
        print(*done, flush=True)

asyncio.run(main())
"""


# --- queued to started ------------------------------------------------------------------------------------------


def trivial(folder: Path, dry: bool) -> Sequence[str]:  # noqa: ARG001  # the shape of `handlers.Command`
    """A run's process that does nothing well."""
    return ["/bin/sh", "-c", NOTHING]


def waits(where: Place, count: int) -> dict[str, Any]:
    """From queued to started, with an idle worker."""
    claimed, process = [], []
    with servers.serve(where) as server, servers.client(server) as api:
        key = servers.dataset(api)
        with (where.home / "worker.log").open("ab") as log:
            child = subprocess.Popen([*OURS, "worker"], env=where.environment, stdout=log, stderr=log, cwd=servers.ROOT)
        try:
            while not api.get("/api/workers").json()["data"]:
                time.sleep(0.05)
            servers.wait_for(api, servers.submit(api, key), "completed")
            time.sleep(10)  # the worker looks for devices once, in a process of its own
            cpu = servers.cpu_seconds(child.pid)
            for _ in range(count):
                run_id = servers.submit(api, key)
                servers.wait_for(api, run_id, "completed")
                row = api.get(f"/api/tunix/runs/{run_id}").json()
                claimed.append(1000 * row["wait_seconds"])
                queued = servers.time_of(row["queued_at"])
                process.append(1000 * ((folder_of(where.home, run_id) / "started").stat().st_mtime - queued))
                time.sleep(random.uniform(0.1, 0.4))
            cpu = servers.cpu_seconds(child.pid) - cpu
        finally:
            servers.end(child)
    return {
        "queued_to_started_ms": servers.spread(claimed),
        "queued_to_process_ms": servers.spread(process),
        "worker_cpu_ms_a_run": 1000 * cpu / count,
    }


# --- claims a second --------------------------------------------------------------------------------------------


class Nothing:
    """Does jobs of the kind `nothing`."""

    def __init__(self) -> None:
        self.done: list[int] = []

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """Note nothing."""

    async def work(self, lease: Lease) -> Outcome:
        """Do nothing, and remember it."""
        self.done.append(lease.job.number)
        return Outcome(End.DONE)

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """Note nothing."""


async def work(settings: Settings) -> list[int]:
    """Do jobs as a worker does, until told by the end of stdin; returns their numbers."""
    database, handler, stop = Database(settings.sqlalchemy_url), Nothing(), asyncio.Event()
    async with database.write("register") as session:
        identity = await workers.register(session, f"bench-{os.getpid()}", {})

    async def beat(session: AsyncSession, job_number: int | None) -> None:
        await workers.beat(session, identity, job_number, {}, stop.is_set())
        await workers.add_durations(session, database.write_durations.take())

    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    lease_seconds = settings.lease_seconds
    reaping = asyncio.create_task(loop.keep_reaping(database, {"nothing": handler}, lease_seconds))
    await loop.run(database, {"nothing": handler}, "bench", list, lease_seconds, stop, beat)
    reaping.cancel()
    await asyncio.gather(reaping, return_exceptions=True)
    await database.close()
    return handler.done


async def fill(where: Place, count: int) -> None:
    """Queue jobs that do nothing."""
    database = Database(where.url)
    row = {"kind": "nothing", "payload": {"run": str(uuid.uuid4())}, "rank": 0, "max_attempts": 3}
    async with database.write() as session:
        await session.execute(insert(Job), [row] * count)
    await database.close()


async def progress(where: Place) -> tuple[int, float]:
    """How many jobs are not over, and the seconds from the first claim to the last end."""
    database = Database(where.url)
    async with database.read() as session:
        left = await session.scalar(select(func.count()).where(Job.finished_at.is_(None)))
        first, last = (await session.execute(select(func.min(Job.claimed_at), func.max(Job.finished_at)))).one()
    await database.close()
    return left or 0, ((last or now()) - (first or now())).total_seconds()


def together(commands: list[list[str]], environment: dict[str, str], over: Any) -> tuple[list[int], float]:
    """Start workers at one moment, end them when `over` returns; returns the jobs they did and their CPU seconds."""
    processes = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=servers.ROOT, text=True
        )
        for command in commands
    ]
    try:
        for process in processes:
            assert process.stdout is not None, "it is a pipe"
            assert process.stdout.readline() == "ready\n", "the worker did not start"
        cpu = sum(servers.cpu_seconds(process.pid) for process in processes)
        for process in processes:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write("go\n")
            process.stdin.flush()
        over()
        cpu = sum(servers.cpu_seconds(process.pid) for process in processes) - cpu
        said = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            servers.end(process)
    return [int(number) for line in said for number in line.split()], cpu


def check_once(done: list[int], count: int) -> None:
    """Raise unless each job was done once."""
    twice = [number for number, times in Counter(done).items() if times > 1]
    if twice or len(done) != count:
        raise RuntimeError(f"{len(done)} of {count} jobs done, twice: {twice[:10]}")


def our_claims(where: Place, count: int) -> dict[str, float]:
    """One round of ours."""
    asyncio.run(fill(where, count))

    def over() -> None:
        while asyncio.run(progress(where))[0]:
            time.sleep(0.25)

    done, cpu = together([[*OURS, "claims"]] * PROCESSES, where.environment, over)
    check_once(done, count)
    seconds = asyncio.run(progress(where))[1]
    return {"per_second": count / seconds, "cpu_ms_a_job": 1000 * cpu / count}


def their_claims(python: Path, server: Postgres, count: int) -> dict[str, float]:
    """One round of procrastinate."""
    url = servers.empty_database(server)
    subprocess.run([python, "-c", THEIRS, "fill", url, str(count)], check=True)

    def over() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while connection.execute("SELECT 1 FROM procrastinate_jobs WHERE status <> 'succeeded' LIMIT 1").fetchone():
                time.sleep(0.25)

    command = [str(python), "-c", THEIRS, "work", url]
    done, cpu = together([command] * PROCESSES, dict(os.environ), over)
    check_once(done, count)
    with psycopg.connect(url) as connection:
        query = """SELECT extract(epoch from max(at) FILTER (WHERE type = 'succeeded')
                       - min(at) FILTER (WHERE type = 'started')) FROM procrastinate_events"""
        row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate has a row"
    return {"per_second": count / float(row[0]), "cpu_ms_a_job": 1000 * cpu / count}


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure, and the smallest and largest rate."""
    found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    rates = [one["per_second"] for one in rounds]
    return found | {"lowest": min(rates), "highest": max(rates)}


# --- all --------------------------------------------------------------------------------------------------------


def measure(folder: Path, count: int, jobs: int, rounds: int) -> dict[str, Any]:
    """All measurements, as one document."""
    python = servers.other_python("procrastinate", "procrastinate", "psycopg[binary]")
    found: dict[str, Any] = {"procrastinate": servers.version_of(python, "procrastinate")}
    with servers.postgres() as server:
        claims: dict[str, list[dict[str, float]]] = {"ours": [], "procrastinate": [], "ours on sqlite": []}
        for _ in range(rounds if jobs else 0):
            claims["ours"].append(our_claims(servers.place("postgresql", folder, server), jobs))
            claims["procrastinate"].append(their_claims(python, server, jobs))
            claims["ours on sqlite"].append(our_claims(servers.place("sqlite", folder, None), jobs))
        found["claims"] = {name: medians(figures) for name, figures in claims.items() if figures}
        for kind in ("postgresql", "sqlite") if count else ():
            found[kind] = waits(servers.place(kind, folder, server), count)
    if jobs:
        pairs = zip(claims["ours"], claims["procrastinate"], strict=True)
        found["ratio_of_pairs"] = statistics.median(a["per_second"] / b["per_second"] for a, b in pairs)
    return found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="The queue.")
    parser.add_argument("--waits", type=int, default=100, help="0: leave them out")
    parser.add_argument("--jobs", type=int, default=2000, help="0: leave them out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=["worker", "claims"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "worker":
        raise SystemExit(worker.main(Settings(), command=trivial))
    if given.child == "claims":
        print(*asyncio.run(work(Settings())))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.waits, given.jobs, given.rounds)
    if given.json:
        print(json.dumps(found))
        return
    for kind in ("postgresql", "sqlite"):
        for name in ("queued_to_started_ms", "queued_to_process_ms") if kind in found else ():
            one = found[kind][name]
            print(f"{kind}, {name}: median {one['p50']:.0f}, p99 {one['p99']:.0f}, largest {one['largest']:.0f}")
    for name, one in found["claims"].items():
        print(
            f"claims, {name}: {one['per_second']:.0f}/s ({one['lowest']:.0f} to {one['highest']:.0f}), "
            f"CPU of the workers {one['cpu_ms_a_job']:.2f} ms a job"
        )
    if "ratio_of_pairs" in found:
        print(f"ours / procrastinate {found['procrastinate']}, median of pairs: {found['ratio_of_pairs']:.2f}")


if __name__ == "__main__":
    main()
