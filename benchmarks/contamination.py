"""Contamination: `python -m benchmarks.contamination [--file GSM8K.jsonl] [--json]`.

Method. Everything runs in this one process; seconds are CPU time of a single thread, reading left out. Speed: 10,000
traces of GSM8K's shape against 1,000 questions. Found: 300 of 1,000 questions are planted among 6,000 other traces,
as they are, in other case or white space, or with 15 % of the words replaced, deleted or added. False: problems of the
project's own sources against 1,000 others of the same source, and the first 1,000 questions of GSM8K's training split
against the rest of it, where the pairs that are found are near duplicates that the data set holds.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.datasets.plants import changed, generated, questions, trace

from tunix_rt.datasets.contamination import Check

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k" / "train.jsonl"
ITEMS, TRACES, PLANTED = 1000, 10_000, 300
SOURCES: list[tuple[str, dict[str, int]]] = [
    ("addition", {"digits": 3}),
    ("word-problems", {"digits": 3}),
    ("word-problems", {"digits": 2}),
    ("insertion-sort", {"length": 12}),
    ("parity", {"bits": 14}),
]


def measured(items: list[str], traces: list[dict[str, Any]]) -> tuple[set[int], dict[str, Any]]:
    """Look for items in traces: the positions found, and the figures."""
    start = time.process_time()
    check = Check(items)
    check.add(traces)
    findings = check.findings()
    seconds = time.process_time() - start
    return set(findings.overlaps), {
        "n_items": len(items),
        "n_traces": len(traces),
        "n_found": len(findings.overlaps),
        "cpu_seconds": round(seconds, 2),
        "kinds": {kind: count for kind, count in findings.summary()["kinds"].items() if count},
    }


def planted(items: list[str], others: list[dict[str, Any]], dress: Callable[[str, Random], str]) -> dict[str, Any]:
    """Plant the first items among other traces."""
    random = Random(0)
    copies = [trace(-1 - number, dress(item, random)) for number, item in enumerate(items[:PLANTED])]
    traces = others + copies
    random.shuffle(traces)
    found, figures = measured(items, traces)
    return figures | {
        "planted": PLANTED,
        "planted_found": sum(position < PLANTED for position in found) / PLANTED,
        "others_found": sum(position >= PLANTED for position in found),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=GSM8K)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.file.exists():
        records = [json.loads(line) for line in options.file.read_text().splitlines()]
        prompts = [record["question"] for record in records]
        steps = [record["answer"].split("\n") for record in records]
    else:
        prompts = questions(ITEMS + TRACES, seed=0)
        steps = [["Some steps of a solution.", "7"]] * len(prompts)
    items, rest = prompts[:ITEMS], list(zip(prompts, steps, strict=True))[ITEMS:]
    others = [trace(n, prompt, *said) for n, (prompt, said) in enumerate(rest)]
    many = [made | {"id": f"again-{n}"} for n, made in enumerate(itertools.islice(itertools.cycle(others), TRACES))]
    for n, made in enumerate(many[len(others) :]):
        many[len(others) + n] = made | {"prompt": f"{made['prompt']} Think of step {n} too."}

    found: dict[str, dict[str, Any]] = {"others of the same kind": measured(items, many)[1]}
    dresses: dict[str, Callable[[str, Random], str]] = {
        "verbatim": lambda text, _: text,
        "case": lambda text, _: text.upper(),
        "white space": lambda text, _: text.replace(" ", " \n "),
        "inside another prompt": lambda text, _: f"Solve this with care.\n\nQuestion: {text}\n\nAnswer:",
    }
    for how in ("replace", "delete", "insert", "mix"):
        dresses[f"15 % of words: {how}"] = lambda text, random, how=how: changed(text, random, how)  # type: ignore[misc]  # the default binds this way
    for name, dress in dresses.items():
        found[name] = planted(items, others[:6000], dress)
    for source, of_source in SOURCES:
        problems = generated(source, 6000, 3, **of_source)
        Random(1).shuffle(problems)
        name = f"{source} {of_source}"
        found[f"other problems: {name}"] = measured([one["prompt"] for one in problems[:ITEMS]], problems[ITEMS:])[1]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, figures in found.items():
        print(f"{name:<48}{json.dumps(figures)}")


if __name__ == "__main__":
    main()
