"""The list of runs: `python -m benchmarks.runs_list [--json]`.

Method. `GET /api/tunix/runs?limit=20` of `tunix-rt serve --workers 0`, asked by `benchmarks.load` with one client and
with 100, all connections kept alive: of an installation with 1,000 runs and of one with 100,000, filled in bulk with
whole configs, params and 8 metrics a run. Both servers run at the same time and are loaded in turns, `--rounds` times;
ratios are medians of pairs. `mixed` is the same with 100 different questions: pages by cursor, filters by status, data
set and model, so that no two clients share an answer. `nothing found` is one client with a metric that no run reaches:
the database looks at every run. MLflow (newest, in an environment of its own, as `mlflow server` comes, 4 processes)
has 1,000 runs with the same params, metrics and 4 tags, and is asked for 20 by `runs/search` by the same generator in
the same run. Figures of one run on one machine; the generator shares its cores.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import insert
from tests.postgres import Postgres

from benchmarks import load, servers
from benchmarks.load import Request
from benchmarks.servers import Place, Server
from tunix_rt.base.db import Database, new_id, now
from tunix_rt.jobs.models import Job
from tunix_rt.runs.models import Run
from tunix_rt.training import config as configs

FEW, MANY, CLIENTS, ROWS = 1_000, 100_000, 100, 2_000
LIST: list[Request] = [("GET", "/api/tunix/runs?limit=20", None)]
NOTHING: list[Request] = [("GET", "/api/tunix/runs?limit=20&metric.loss%3C=-1", None)]
STATUSES = ["completed"] * 16 + ["failed"] * 2 + ["cancelled", "timeout"]
FILL_MLFLOW = """
import json, sys
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.create_experiment("runs", artifact_location=sys.argv[2])
for line in sys.stdin:
    run = json.loads(line)
    made = client.create_run(experiment, run_name=run["id"])
    client.log_batch(
        made.info.run_id,
        [Metric(key, value, 0, 1000) for key, value in run["metrics"].items()],
        [Param(key, str(value)) for key, value in run["params"].items()],
        [RunTag(key, value) for key, value in run["tags"].items()],
    )
    client.set_terminated(made.info.run_id)
print(experiment)
"""


# --- data -------------------------------------------------------------------------------------------------------


def made(count: int) -> Iterator[dict[str, Any]]:
    """Rows of the table of runs, newest last."""
    chance = random.Random(0)
    first = now() - timedelta(minutes=count)
    default = configs.TrainingConfig().model_dump(mode="json")
    for n in range(count):
        config = default | {"seed": n, "learning_rate": chance.choice([0.001, 0.002, 0.004]), "batch_size": 32}
        created, status, loss = first + timedelta(minutes=n), chance.choice(STATUSES), chance.uniform(0.1, 2.0)
        names = ("loss", "eval_loss", "tokens_per_second", "step_seconds", "learning_rate", "grad_norm", "accuracy")
        metrics = dict.fromkeys(names, 0.5) | {"loss": loss, "accuracy": 1 - loss / 2, "eval_loss": 1.1 * loss}
        yield {
            "id": new_id(),
            "job_number": n + 1,
            "created_at": created,
            "queued_at": created,
            "started_at": created + timedelta(seconds=1),
            "completed_at": created + timedelta(seconds=61),
            "dataset_key": f"sums-{n % 10}",
            "dataset_digest": "sha256:" + 64 * "0",
            "request_digest": "sha256:" + 64 * "1",
            "model_id": chance.choice(["scratch", "base"]),
            "engine": "tunix",
            "mode": "local",
            "status": status,
            "wait_seconds": 1.0,
            "duration_seconds": 60.0,
            "ran_seconds": 60.0,
            "max_attempts": 3,
            "priority": 0,
            "exit_code": 0,
            "worker": "host-1",
            "progress": {"step": 1000, "total_steps": 1000, "eta_seconds": 0.0},
            "metrics": metrics,
            "params": configs.flat(config),
            "config": config,
            "provenance": {"versions": {"python": "3.11", "jax": "0.10"}, "dataset": {"digest": 64 * "0"}},
            "result": {"reason": "completed", "step": 1000, "metrics": metrics},
        }


async def fill(where: Place, count: int) -> None:
    """Write so many runs, with their jobs."""
    database = Database(where.url)
    rows = made(count)
    job = {"kind": "run", "payload": {"run": str(uuid.uuid4())}, "rank": 0, "max_attempts": 3, "state": "done"}
    for _ in range(0, count, ROWS):
        async with database.write() as session:
            part = list(itertools.islice(rows, ROWS))
            await session.execute(insert(Job.__table__), [{**job, "number": row["job_number"]} for row in part])  # type: ignore[arg-type]  # a table
            await session.execute(insert(Run.__table__), part)  # type: ignore[arg-type]  # a table
    await database.close()
    if where.kind == "postgresql":
        with psycopg.connect(servers.plain(where.url), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE runs")  # as autovacuum would have done it


def questions(server: Server) -> list[Request]:
    """A hundred different ones: every other a place further down the list, the others filters."""
    found: list[Request] = []
    with servers.client(server) as api:
        cursor = ""
        while len(found) < CLIENTS // 2:
            page = api.get(f"/api/tunix/runs?limit=20{cursor}").raise_for_status().json()
            found.append(("GET", f"/api/tunix/runs?limit=20{cursor}", None))
            cursor = "&cursor=" + page["pagination"]["next_cursor"]
            if len(found) % 10 == 0:
                for status in ("completed", "failed", "cancelled", "timeout", "running"):
                    place = f"/api/tunix/runs?limit=20&status={status}{cursor}"
                    found.append(("GET", place, None))
    for n, model in itertools.product(range(10), ("scratch", "base")):
        found.append(("GET", f"/api/tunix/runs?limit=20&dataset_key=sums-{n}&model_id={model}", None))
    for n in range(CLIENTS - len(found)):
        found.append(("GET", f"/api/tunix/runs?limit=20&dataset_key=sums-{n % 10}&status=failed&engine=tunix", None))
    random.Random(0).shuffle(found)
    return found


# --- measuring --------------------------------------------------------------------------------------------------


def figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round of the median rate, with the highest peak."""
    middle = sorted(rounds, key=lambda one: float(one["per_second"]))[len(rounds) // 2]
    return middle | {"server_peak_mib": max(one["server_peak_mib"] for one in rounds)}


def ours(kind: str, folder: Path, server: Postgres | None, rounds: int, seconds: float) -> dict[str, Any]:
    """Both installations, in turns."""
    places = {str(count): servers.place(kind, folder, server) for count in (FEW, MANY)}
    for count, where in places.items():
        asyncio.run(fill(where, int(count)))
    found: dict[str, list[dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        up = {count: stack.enter_context(servers.serve(where)) for count, where in places.items()}
        mixed = {count: questions(one) for count, one in up.items()}
        for _ in range(rounds):
            for count, one in up.items():
                for name, asked, clients in (
                    ("one client", LIST, 1),
                    ("100 clients", LIST, CLIENTS),
                    ("mixed", mixed[count], CLIENTS),
                    ("nothing found", NOTHING, 1),
                ):
                    with servers.client(one) as api:  # once before, since the system may have dropped the file's pages
                        api.get(asked[0][1]).raise_for_status()
                    result = load.run(one, asked, folder, clients, seconds)
                    found.setdefault(f"{name}, {count}", []).append(result)
    ratios = {
        name: statistics.median(
            b["latency_ms"]["p50"] / a["latency_ms"]["p50"]
            for a, b in zip(found[f"{name}, {FEW}"], found[f"{name}, {MANY}"], strict=True)
        )
        for name in ("one client", "100 clients", "mixed", "nothing found")
    }
    return {"loads": {name: figures(results) for name, results in found.items()}, "many_by_few": ratios}


def mlflow(python: Path, kind: str, folder: Path, server: Postgres | None, seconds: float) -> dict[str, Any]:
    """MLflow's search under the same load."""
    home = Path(tempfile.mkdtemp(dir=folder))
    url = f"sqlite:///{home / 'mlflow.db'}"
    if kind == "postgresql":
        assert server is not None, "PostgreSQL was started"
        url = servers.empty_database(server).replace("postgresql:", "postgresql+psycopg2:")
    port = servers.free_port()
    command = [str(python), "-m", "mlflow", "server", "--backend-store-uri", url, "--port", str(port)]
    patient = "--timeout-worker-healthcheck 120"  # on a busy machine uvicorn kills its processes as they start
    command += ["--default-artifact-root", str(home), "--uvicorn-opts", patient]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with servers.started(command, port, "/health", environment, home / "log") as up:
        lines = "".join(
            json.dumps(
                {
                    "id": str(row["id"]),
                    "metrics": row["metrics"],
                    "params": row["params"],
                    "tags": {key: row[key] for key in ("dataset_key", "model_id", "engine", "status")},
                }
            )
            + "\n"
            for row in made(FEW)
        )
        arguments = [str(python), "-c", FILL_MLFLOW, url, str(home)]
        filled = subprocess.run(arguments, input=lines, check=True, capture_output=True, text=True, env=environment)
        body = {"experiment_ids": [filled.stdout.split()[-1]], "max_results": 20}
        asked: list[Request] = [("POST", "/api/2.0/mlflow/runs/search", body)]
        return {
            "start_seconds": up.start_seconds,
            "one client": load.run(up, asked, folder, 1, seconds, failing=True),
            "100 clients": load.run(up, asked, folder, CLIENTS, max(60.0, seconds), failing=True),
        }


def measure(folder: Path, rounds: int, seconds: float, kinds: list[str], compare: bool) -> dict[str, Any]:
    """All measurements, as one document."""
    found: dict[str, Any] = {}
    with servers.postgres() as server:
        for kind in kinds:
            found[kind] = ours(kind, folder, server, rounds, seconds)
            if compare:
                python = servers.other_python("mlflow", "mlflow", "psycopg2-binary")
                theirs = mlflow(python, kind, folder, server, seconds)
                few = found[kind]["loads"][f"100 clients, {FEW}"]
                found[kind]["mlflow"] = theirs | {"version": servers.version_of(python, "mlflow")}
                found[kind]["rate_by_mlflow"] = few["per_second"] / theirs["100 clients"]["per_second"]
    return found


def line(name: str, one: dict[str, Any]) -> str:
    """A load as a line."""
    latency = one["latency_ms"]
    return (
        f"  {name:24} {one['per_second']:7.0f}/s  median {latency['p50']:7.1f} ms  p99 {latency['p99']:7.1f} ms  "
        f"CPU {one['server_cpu_ms_a_request']:6.2f} ms a request  peak {one['server_peak_mib']:5.0f} MiB"
    )


def show(kind: str, one: dict[str, Any]) -> None:
    """Print the figures of one database."""
    print(kind)
    for name, result in one["loads"].items():
        print(line(name, result))
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in one["many_by_few"].items())
    print(f"  time with {MANY:,} by that with {FEW:,}: {ratios}")
    if "mlflow" in one:
        for name in ("one client", "100 clients"):
            print(line(f"MLflow {one['mlflow']['version']}, {name}", one["mlflow"][name]))
        failures = one["mlflow"]["100 clients"]["failures"]
        print(f"  requests a second by MLflow's: {one['rate_by_mlflow']:.0f}; {failures} of its answers were not 200")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="The list of runs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a load")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--alone", action="store_true", help="without MLflow")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.rounds, given.seconds, given.kinds, not given.alone)
    if given.json:
        print(json.dumps(found))
        return
    for kind, one in found.items():
        show(kind, one)


if __name__ == "__main__":
    main()
