"""Judging: `python -m benchmarks.judging [--items 100000] [--gsm8k FILE] [--json]`.

Method. `--items` outputs are made, one after the other, of the shape of GSM8K's solutions: four steps with calculator
notes (270 characters) and a last line `A: N`, a third of them wrong; with `--gsm8k` they are the solutions of that file
instead. Each is judged and forgotten. Figures are items a second of processor time, without the time that making them
takes, and how far the process's memory rose from the first thousand to the last. `whole` is the same through
`evaluation.judging`, which keeps a row of each item. One process, one core.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tunix_rt.evaluation import files, judging
from tunix_rt.evaluation.judges import Question, named
from tunix_rt.evaluation.schemas import PredictionLine

JUDGES = ("answer_correctness", "exact:normalised=true", "numeric:tolerance=0.01", "steps")
AIM = 20_000  # items a second


@dataclass(frozen=True)
class Item:
    """An item of an eval set."""

    item_id: str
    prompt: str
    expected_answer: str
    section: str | None = None
    category: str | None = None
    difficulty: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def made() -> Iterator[tuple[str, str]]:
    """Expected answers and outputs, without end."""
    for number in range(10**9):
        a, b = 11 + number % 89, 2 + number % 7
        total = a * b + 45
        yield (
            str(total),
            f"The farm has {a} rows of {b} trees, so there are {a} * {b} = <<{a}*{b}={a * b}>>{a * b} trees.\n"
            f"In spring they plant 20 more and 25 more after that, 20 + 25 = <<20+25=45>>45 trees.\n"
            f"Altogether the farm now has {a * b} + 45 = <<{a * b}+45={total}>>{total} trees in its rows.\n"
            f"A: {total + (number % 3 == 0)}",
        )


def given(path: Path) -> Iterator[tuple[str, str]]:
    """The same, from solutions of GSM8K."""
    solutions = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    for solution in cycle(solutions):
        steps, _, answer = solution.rpartition("\n#### ")
        yield answer, f"{steps}\nA: {answer}"


def memory() -> float:
    """Most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def judged(name: str, outputs: Callable[[], Iterator[tuple[str, str]]], count: int) -> dict[str, Any]:
    """Judge and forget."""
    judge = named(name)
    source = islice(outputs(), count)
    seconds, before = 0.0, 0.0
    while batch := [(Question("?", expected), output) for expected, output in islice(source, 1_000)]:
        began = time.process_time()
        for question, output in batch:
            judge.judge(question, output)
        seconds += time.process_time() - began
        before = before or memory()
    return {"judge": name, "items a second": count / seconds, "memory rose MiB": memory() - before}


def whole(outputs: Callable[[], Iterator[tuple[str, str]]], count: int) -> dict[str, Any]:
    """Judge an eval set."""
    pairs = list(islice(outputs(), count))
    items = [Item(str(place), "?", expected) for place, (expected, _) in enumerate(pairs)]
    lines = [PredictionLine(id=str(place), output=output) for place, (_, output) in enumerate(pairs)]
    answered = files.Predictions("sha256:0", lines)
    before, began = memory(), time.process_time()
    judging.judged(items, answered, named(JUDGES[0]))
    seconds = time.process_time() - began
    return {"judge": f"{JUDGES[0]}, whole", "items a second": count / seconds, "memory rose MiB": memory() - before}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--gsm8k", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    def outputs() -> Iterator[tuple[str, str]]:
        return given(options.gsm8k) if options.gsm8k else made()

    found = [judged(name, outputs, options.items if name != "steps" else options.items // 20) for name in JUDGES]
    found.append(whole(outputs, options.items))
    if options.json:
        print(json.dumps(found))
        return
    print("| judge | items a second | memory rose | |\n|---|---|---|---|")
    for row in found:
        mark = "" if row["judge"] != JUDGES[0] else "ok" if row["items a second"] >= AIM else "MISS"
        print(f"| {row['judge']} | {row['items a second']:,.0f} | {row['memory rose MiB']:.1f} MiB | {mark} |")


if __name__ == "__main__":
    main()
