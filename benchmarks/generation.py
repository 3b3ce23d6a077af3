"""Generation: `python -m benchmarks.generation [--rounds N] [--json]`.

Method. Two contenders answer the same prompts greedily in float32 with the same model folder, a Llama of random
weights: `tunix`, the engine's generator, and `transformers`, `model.generate` on left-padded rows (SDPA, its default
cache). 32 prompts of 48 to 64 tokens, 128 new tokens each, no stop token. Each contender is a process of its own on
all cores, which reads the folder and answers once before the clock starts: compiling is told apart. Rounds alternate,
the order too; the ratio is of the medians of new tokens a second, prompts' computation included, and beside it that of
CPU time, which other work on the machine moves less. The answers are compared token by token.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Process, Turns
from tunix_rt.training.config import ModelDimensions
from tunix_rt.training.engines import Sampling, architecture, jax_environment, model_folder

ROWS, LONGEST, NEW = 32, 64, 128
SIZES = {
    "4 x 256, vocabulary 8,000": (ModelDimensions(layers=4, width=256, hidden=768, tie_embeddings=False), 8_000),
    "8 x 512, vocabulary 32,000": (
        ModelDimensions(layers=8, width=512, hidden=1536, heads=8, kv_heads=8, tie_embeddings=False),
        32_000,
    ),
}


def prompts(vocabulary: int) -> list[list[int]]:
    """Random prompts; 0 is left out, which pads."""
    random = np.random.default_rng(0)
    return [random.integers(1, vocabulary, n).tolist() for n in random.integers(LONGEST * 3 // 4, LONGEST + 1, ROWS)]


def write_model(folder: Path, shape: ModelDimensions, vocabulary: int) -> None:
    """A folder of random weights."""
    d = architecture.from_scratch(shape, vocabulary, LONGEST + NEW)
    content = architecture.to_json(d)
    model_folder.write_folder(folder, model_folder.start(d, 0), content, {}, folder, np.float32)


def tunix(folder: Path, vocabulary: int) -> None:
    """Take turns as the engine's generator."""
    jax_environment.prepare_environment()
    from tunix_rt.training.engines import jax_generation

    model, given = jax_generation.load(folder), prompts(vocabulary)
    sampling = Sampling(NEW, 0.0, 0, ())
    _play(lambda: [answer.tokens for answer in jax_generation.generate(model, given, sampling, lambda _: None)])


def transformers(folder: Path, vocabulary: int) -> None:
    """Take turns as `model.generate`."""
    import torch
    import transformers

    torch.set_num_threads(jax_environment.threads())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    given = prompts(vocabulary)
    width = max(map(len, given))
    rows = torch.tensor([[0] * (width - len(row)) + row for row in given])
    settings = {"attention_mask": (rows != 0).long(), "do_sample": False, "pad_token_id": 0}

    def answers() -> list[list[int]]:
        found: list[list[int]] = model.generate(rows, max_new_tokens=NEW, min_new_tokens=NEW, **settings).tolist()
        return [row[width:] for row in found]

    _play(answers)


def _play(answers: Callable[[], list[list[int]]]) -> None:
    turns, measured = Turns(), _timed(answers)
    while turns.next(measured):
        measured = _timed(answers)


def _timed(answers: Callable[[], list[list[int]]]) -> dict[str, Any]:
    started, cpu = time.perf_counter(), time.process_time()
    found = answers()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "answers": found}


CONTENDERS = {"tunix": tunix, "transformers": transformers}


def compare(folder: Path, vocabulary: int, rounds: int) -> dict[str, Any]:
    """Rounds of both; tokens a second, seconds of the first answers, and how many rows are equal."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    cpu: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    last: dict[str, dict[str, Any]] = {}
    players = {
        name: Process(
            [sys.executable, "-m", "benchmarks.generation", "--contender", name, str(folder), str(vocabulary)],
            folder / f"{name}.log",
        )
        for name in CONTENDERS
    }
    for number in range(rounds):
        for name in list(players)[:: 1 if number % 2 else -1]:
            last[name] = players[name].play()
            seconds[name].append(last[name]["seconds"])
            cpu[name].append(last[name]["cpu"])
    for player in players.values():
        player.close()
    rate = {name: ROWS * NEW / statistics.median(times) for name, times in seconds.items()}
    ours, theirs = (last[name]["answers"] for name in CONTENDERS)
    return {
        "tokens_per_second": rate,
        "ratio": rate["tunix"] / rate["transformers"],
        "pairs": statistics.median(b / a for a, b in zip(seconds["tunix"], seconds["transformers"], strict=True)),
        "cpu_ratio": statistics.median(cpu["transformers"]) / statistics.median(cpu["tunix"]),
        "first_seconds": {name: player.ready["seconds"] for name, player in players.items()},
        "equal_rows": sum(a == b for a, b in zip(ours, theirs, strict=True)),
        "distinct_tokens": len({token for row in ours for token in row}),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", choices=sorted(SIZES), help="only this one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--contender", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contender:
        name, folder, vocabulary = chosen.contender
        CONTENDERS[name](Path(folder), int(vocabulary))
        return
    for size, (shape, vocabulary) in SIZES.items():
        if chosen.size not in (None, size):
            continue
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            write_model(folder, shape, vocabulary)
            found = compare(folder, vocabulary, chosen.rounds)
        if chosen.json:
            print(json.dumps({"size": size, **found}), flush=True)
            continue
        print(
            f"{size}: x {found['ratio']:.2f} (median of pairs {found['pairs']:.2f}, CPU time "
            f"{found['cpu_ratio']:.2f}); {found['equal_rows']} of {ROWS} rows equal, "
            f"{found['distinct_tokens']} tokens in them"
        )
        for name, rate in found["tokens_per_second"].items():
            print(f"  {name:14}{rate:10,.0f} tokens/s, first answers in {found['first_seconds'][name]:.1f} s")


if __name__ == "__main__":
    main()
