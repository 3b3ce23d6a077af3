"""The leaderboard of 10,000 evaluations: the first answer, later ones, and the one after an evaluation came.

The evaluations are written into the database as `POST /api/evaluations` leaves them, but for their items, of which a
board reads none: it reads the scores that stand packed beside each evaluation.
"""

import argparse
import asyncio
import json
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select
from tests.postgres import Postgres

from benchmarks import servers
from benchmarks.servers import Place
from tunix_rt.base.db import Database, new_id, now
from tunix_rt.evaluation import packed
from tunix_rt.evaluation.models import EvalSet, Evaluation, Predictions
from tunix_rt.evaluation.statistics import wilson

COUNT = 10_000
LIST = "/api/tunix/evaluations"

# name -> (names, eval sets, items)
CASES = {
    "10,000 names, 100 items": (COUNT, 1, 100),
    "10,000 names, 1,000 items": (COUNT, 1, 1_000),
    "20 names, 1,000 items": (20, 1, 1_000),
    "500 eval sets of 20 names, 100 items": (20, 500, 100),
}


# --- filling ----------------------------------------------------------------------------------------------------


async def fill(where: Place, names: int, sets: int, items: int) -> None:
    """Write evaluations of models whose skill differs."""
    generator = np.random.default_rng(0)
    hardness = generator.normal(0, 1, items)
    database = Database(where.url)
    try:
        async with database.write() as session:
            numbers = []
            for place in range(sets):
                digest = f"sha256:{place:064x}"
                eval_set = EvalSet(name=f"set-{place}", digest=digest, n_items=items)
                session.add(eval_set)
                await session.flush()
                answered = Predictions(eval_set_number=eval_set.number, digest=digest, samples=1)
                session.add(answered)
                await session.flush()
                numbers.append((eval_set.number, answered.number))
            for start in range(0, COUNT, 1_000):
                rows = [
                    evaluation(place, f"model-{place // sets % names}", *numbers[place % sets], scores)
                    for place, scores in enumerate(drawn(generator, hardness, 1_000), start)
                ]
                await session.execute(insert(Evaluation), rows)
    finally:
        await database.close()


def drawn(generator: np.random.Generator, hardness: np.ndarray[Any, Any], count: int) -> Any:
    """Scores of `count` models, uint8 (count, items)."""
    chances = 1 / (1 + np.exp(hardness - generator.normal(0, 1, (count, 1))))
    return (generator.random(chances.shape) < chances).astype(np.uint8)


def evaluation(place: int, name: str, eval_set: int, answered: int, scores: Any) -> dict[str, Any]:
    """A row of the table."""
    n, right = len(scores), int(scores.sum())
    low, high = wilson(right, n) or (0.0, 0.0)
    return {
        "id": new_id(),
        "name": name,
        "created_at": now() + timedelta(microseconds=place),
        "eval_set_number": eval_set,
        "judge": "answer_correctness",
        "judge_version": "1",
        "judge_digest": f"sha256:{0:064x}",
        "decoding": {},
        "decoding_digest": "unknown",
        "predictions_number": answered,
        "samples": 1,
        **dict.fromkeys(("n_items", "n_scored"), n),
        **dict.fromkeys(("n_missing", "n_unscored", "n_unknown", "n_repeated"), 0),
        "n_correct": right,
        "score": right / n,
        "ci_low": low,
        "ci_high": high,
        "scores": packed.pack(scores.tolist()),
    }


async def one_more(where: Place, items: int) -> None:
    """Write another evaluation onto the first board."""
    database = Database(where.url)
    try:
        async with database.write() as session:
            first = (await session.execute(select(Evaluation).limit(1))).scalar_one()
            scores = drawn(np.random.default_rng(1), np.zeros(items), 1)[0]
            row = evaluation(COUNT, "one-more", first.eval_set_number, first.predictions_number, scores)
            await session.execute(insert(Evaluation), [row])
    finally:
        await database.close()


# --- measuring --------------------------------------------------------------------------------------------------


def measure(kind: str, folder: Path, server: Postgres | None, case: str, requests: int) -> dict[str, Any]:
    """One case on one database."""
    names, sets, items = CASES[case]
    where = servers.place(kind, folder, server)
    asyncio.run(fill(where, names, sets, items))
    with servers.serve(where) as up, servers.client(up) as api:
        api.timeout = 600
        first, answer = timed(api, LIST)
        times = [timed(api, LIST)[0] for _ in range(requests)]
        next_rows = answer["data"][0]["next_row"]
        paged = timed(api, f"{LIST}?row_after={next_rows}")[0] if next_rows else None
        asyncio.run(one_more(where, items))
        after = timed(api, LIST)[0]
        return {
            "first_seconds": first,
            "later_ms": servers.spread([1000 * one for one in times]),
            "next_rows_ms": None if paged is None else 1000 * paged,
            "after_one_more_seconds": after,
            "boards": len(answer["data"]),
            "rows": sum(len(board["rows"]) for board in answer["data"]),
            "ranks": len({row["rank"] for row in answer["data"][0]["rows"]}),
            "server_peak_mib": servers.peak_mib(up.pid),
        }


def timed(api: Any, path: str) -> tuple[float, Any]:
    """Seconds until the whole answer was there, and the answer."""
    began = time.perf_counter()
    answer = api.get(path).raise_for_status()
    return time.perf_counter() - began, answer.json()


def show(kind: str, case: str, one: dict[str, Any]) -> None:
    """Print a case as a line."""
    later = one["later_ms"]
    print(
        f"{kind:11} {case:38} first {one['first_seconds']:6.2f} s  later median {later['p50']:6.1f} ms  "
        f"p99 {later['p99']:6.1f} ms  after one more {one['after_one_more_seconds']:6.2f} s  "
        f"{one['boards']} boards, {one['rows']} rows  peak {one['server_peak_mib']:.0f} MiB"
    )


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="The leaderboard of 10,000 evaluations.")
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, servers.postgres() as server:
        for kind in given.kinds:
            for case in given.cases:
                one = measure(kind, Path(folder), server, case, given.requests)
                found.setdefault(kind, {})[case] = one
                if not given.json:
                    show(kind, case, one)
    if given.json:
        print(json.dumps(found))
    else:
        worst = max(one["later_ms"]["p50"] for cases in found.values() for one in cases.values())
        print(f"the slowest median: {worst:.1f} ms (bar: 100)")


if __name__ == "__main__":
    main()
