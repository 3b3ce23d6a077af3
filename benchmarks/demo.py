"""The demo over many seeds: `python -m benchmarks.demo [--seeds 20] [--first 0] [--json]`.

Method. Each seed is one `tunix-rt demo --json` in a home of its own, one after the other, so that nothing but the
compiled programs is shared. A figure is the share of the held-out problems that a model answers exactly. Wall time is
the demo's own; CPU time is of all its processes, and moves less with what else the machine does.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

AIM, SECONDS = 0.95, 120


def run(seed: int) -> dict[str, Any]:
    """One demo: each model's score, and what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="tunix-rt-demo-") as home:
        done = subprocess.run(
            [sys.executable, "-m", "tunix_rt.cli.main", "demo", "--seed", str(seed), "--json"],
            env=os.environ | {"TUNIX_RT_HOME": home},
            cwd=Path(home),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    return {
        "seed": seed,
        "n": found["models"][0]["n"],
        **{model["name"]: model["score"] for model in found["models"]},
        "seconds": found["seconds"],
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="lowest seed")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each seed")
    options = parser.parse_args()
    rows = []
    for seed in range(options.first, options.first + options.seeds):
        row = run(seed)
        rows.append(row)
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        scores = "  ".join(f"{name} {row[name]:6.1%}" for name in ("reasoning", "answers"))
        print(
            f"seed {seed:>3}  {scores}  n {row['n']}  {row['seconds']:.0f} s  {row['cpu_seconds']:.0f} CPU s",
            flush=True,
        )
    if not options.json:
        worst, longest = min(row["reasoning"] for row in rows), max(row["seconds"] for row in rows)
        print(f"worst {worst:.1%} (aim {AIM:.0%}), longest {longest:.0f} s (aim {SECONDS} s)")


if __name__ == "__main__":
    main()
