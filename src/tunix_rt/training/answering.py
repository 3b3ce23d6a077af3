"""Generation as a process: `python -m tunix_rt.training.answering MODEL ITEMS OUTPUT [--max-new-tokens N] ...`.

Answers the items of ITEMS (JSONL of id and prompt) with the model folder MODEL, and writes OUTPUT, whole or not at all.
Its exit codes are those of `training.process`; where it was refused, the last line of stderr says why, as JSON.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import DiskFull, Problem, Unavailable
from tunix_rt.training import lifeline
from tunix_rt.training.decoding import Decoding
from tunix_rt.training.process import COMPLETED, MACHINE, REFUSED, UNEXPECTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer, and return the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        lifeline.hold()
        _answer(asked)
    except Problem as problem:
        print(json.dumps({"detail": problem.detail, "hint": problem.hint}), file=sys.stderr)
        return MACHINE if isinstance(problem, DiskFull | Unavailable) else REFUSED
    except MemoryError as error:
        print(json.dumps({"detail": f"There is too little memory: {error}", "hint": None}), file=sys.stderr)
        return MACHINE
    except Exception:  # the last stand, see `training.process`
        traceback.print_exc()
        return UNEXPECTED
    return COMPLETED


def _answer(asked: argparse.Namespace) -> None:
    from tunix_rt.training import generate  # imports what takes seconds; the lifeline is held before

    items = [(item["id"], item["prompt"]) for item in map(json.loads, asked.items.read_text().splitlines())]
    decoding = Decoding(asked.max_new_tokens, asked.temperature, asked.seed, asked.samples)
    with store.whole(asked.output) as file:
        for answer in generate.answers(asked.model, items, decoding, asked.device, engine=asked.engine):
            file.write(jsontext.dumps(answer) + b"\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunix_rt.training.answering", description="Answer prompts.")
    parser.add_argument("model", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--engine")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu", "tpu"], default="auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
