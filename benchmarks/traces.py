"""Traces in and out: `python -m benchmarks.traces [--file GSM8K.jsonl] [--json]`.

Method. Each measurement runs in a process of its own, on a fresh home, through the same door as the command line:
the real application in process, on SQLite. Import is measured from the first byte of the upload to the answer, the
best of `--rounds`; CPU time stands beside it, since wall time on a shared machine is noisy. Its yardstick is a bare
loop in the same run: `json.loads` a line, `executemany` into a table of the same columns without any check, digest
or index, in one transaction. Export streams 100,000 traces to a reader that drops them; its memory is the growth of
the process's peak over what it was when the application was ready and had answered one request.
"""

import argparse
import asyncio
import itertools
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tunix_rt.base.settings import Settings
from tunix_rt.cli import door

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k" / "train.jsonl"
EXPORTED = 100_000
CHUNK = 2**18


def written(path: Path, count: int) -> Path:
    """Write `count` records of about GSM8K's shape: for machines that do not have it."""
    with path.open("w") as file:
        for n in range(count):
            steps = [
                f"In week {k} she sold {n} + {k} = <<{n}+{k}={n + k}>>{n + k} clips to her friends." for k in range(4)
            ]
            question = f"Natalia sold {n} clips in April and a few more every week. How many were there in the end?"
            file.write(json.dumps({"question": question, "answer": "\n".join([*steps, f"#### {n + 3}"])}) + "\n")
    return path


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    """The upload, as the command line sends it."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


async def import_once(data: bytes, home: Path) -> dict[str, Any]:
    """Import a file's bytes into a fresh home, then again."""
    os.environ["TUNIX_RT_HOME"] = str(home)
    found: dict[str, Any] = {}
    async with door.client(None) as api:
        for name in ("first", "again"):
            start, cpu = time.perf_counter(), time.process_time()
            report = await door.call(api, "POST", "/api/traces/import", content=chunks(data))
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
            total = report["created"] + report["already_present"]
            found[name] = {"seconds": seconds, "cpu_seconds": cpu_seconds, "per_second": total / seconds, **report}
    return found


def bare(file: Path, home: Path) -> float:
    """Seconds of the yardstick."""
    start = time.perf_counter()
    connection = sqlite3.connect(home / "bare.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE bare (prompt TEXT, steps TEXT, final_answer TEXT)")
    with file.open() as lines, connection:
        records = (json.loads(line) for line in lines if line.strip())
        rows = ((r["question"], json.dumps(r["answer"].split("\n")), r["answer"].split("#### ")[-1]) for r in records)
        connection.executemany("INSERT INTO bare VALUES (?, ?, ?)", rows)
    connection.close()
    return time.perf_counter() - start


def many(file: Path) -> Iterator[bytes]:
    """The file's records over and over, each time with other questions, until there are enough."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for n, record in enumerate(itertools.islice(itertools.cycle(records), EXPORTED)):
        yield json.dumps({**record, "question": f"{record['question']} ({n})"}).encode() + b"\n"


async def fill(file: Path, home: Path) -> None:
    """Store what is then exported."""
    os.environ["TUNIX_RT_HOME"] = str(home)

    async def lines() -> AsyncIterator[bytes]:
        for line in many(file):
            yield line

    async with door.client(None) as api:
        await door.call(api, "POST", "/api/traces/import", content=lines())


async def export_once(home: Path) -> dict[str, Any]:
    """Stream the export; measure its first byte and what it adds to the process's peak memory."""
    os.environ["TUNIX_RT_HOME"] = str(home)
    async with door.client(None) as api:
        await door.call(api, "GET", "/api/traces")
        idle, start, cpu = _peak_mib(), time.perf_counter(), time.process_time()
        first, size, count = 0.0, 0, 0
        async with door.stream(api, "/api/traces/export.jsonl") as answer:
            async for chunk in answer:
                first = first or time.perf_counter() - start
                size += len(chunk)
                count += chunk.count(b"\n")
        return {
            "traces": count,
            "mib": size / 2**20,
            "first_byte_ms": first * 1000,
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "per_second": count / (time.perf_counter() - start),
            "idle_peak_mib": idle,
            "memory_above_idle_mib": _peak_mib() - idle,
        }


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.traces", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout or "null")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Traces in and out.")
    parser.add_argument("--file", type=Path, default=GSM8K)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=["import", "fill", "export"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "import":
        print(json.dumps(asyncio.run(import_once(given.file.read_bytes(), given.home))))
        return
    if given.child == "fill":
        asyncio.run(fill(given.file, given.home))
        return
    if given.child == "export":
        print(json.dumps(asyncio.run(export_once(given.home))))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.file, given.rounds, Path(folder))
    if given.json:
        print(json.dumps(found))
        return
    for name in ("first", "again"):
        one = found["import"][name]
        print(
            f"import, {name}: {one['per_second']:,.0f} traces/s "
            f"({one['seconds']:.2f} s, CPU {one['cpu_seconds']:.2f} s; {one['created']:,} created, "
            f"{one['already_present']:,} already present)"
        )
    print(f"yardstick (json.loads + executemany, no checks): {found['bare_seconds']:.2f} s; ratio {found['ratio']:.1f}")
    out = found["export"]
    print(
        f"export of {out['traces']:,} traces ({out['mib']:.0f} MiB): first byte {out['first_byte_ms']:.0f} ms, "
        f"{out['per_second']:,.0f} traces/s, {out['memory_above_idle_mib']:.0f} MiB above idle"
    )


def measure(file: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """All measurements, as one document."""
    if not file.exists():
        file = written(folder / "written.jsonl", 7_473)
    homes = [folder / f"home{n}" for n in range(rounds)]
    imports = [_child("--child", "import", "--file", str(file), "--home", str(home)) for home in homes]
    best = min(imports, key=lambda one: one["first"]["seconds"])
    yardstick = min(bare(file, home) for home in homes)
    home = folder / "export"
    _child("--child", "fill", "--file", str(file), "--home", str(home))
    export = min((_child("--child", "export", "--home", str(home)) for _ in range(rounds)), key=_first_byte)
    return {
        "file": file.name,
        "import": best,
        "bare_seconds": yardstick,
        "ratio": best["first"]["seconds"] / yardstick,
        "export": export,
        "database": Settings(home=home).sqlalchemy_url.split(":")[0],
    }


def _first_byte(export: dict[str, Any]) -> float:
    return float(export["first_byte_ms"])


if __name__ == "__main__":
    main()
