"""How quickly a server answers, and how large it is: `python -m benchmarks.start [--json]`.

Method. `tunix-rt serve` on a fresh home and on the same home again, with one and two workers, several times: seconds
from the start of the process to the first answer of a route that reads the database, and the process's CPU time by
then; then the peak of the API process's resident size after three seconds of requests by 100 clients.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import load, servers


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Start-up times and sizes."""
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    for workers in (1, 2):
        fresh, again, sizes = [], [], []
        for _ in range(rounds):
            where = servers.place("sqlite", folder, None)
            (where.home / "tunix-rt.db").unlink()
            with servers.serve(where, workers) as server:
                fresh.append(server.start_seconds)
            with servers.serve(where, workers) as server:
                again.append(server.start_seconds)
                load.run(server, [("GET", "/api/tunix/runs?limit=20", None)], folder, 100, 3.0)
                sizes.append(servers.peak_mib(server.pid))
        found[f"workers_{workers}"] = {
            "fresh_seconds": statistics.median(fresh),
            "again_seconds": statistics.median(again),
            "longest_seconds": max(fresh + again),
            "api_peak_mib": max(sizes),
        }
    return found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="Start and size of the server.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.rounds, Path(folder))
    if given.json:
        print(json.dumps(found))
        return
    for workers in (1, 2):
        one = found[f"workers_{workers}"]
        print(
            f"serve --workers {workers}: first answer after {one['fresh_seconds']:.2f} s on a fresh home, "
            f"{one['again_seconds']:.2f} s again (CPU {one['api_cpu_seconds']:.2f} s), "
            f"longest {one['longest_seconds']:.2f} s; API peak {one['api_peak_mib']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
