"""Predicted against measured peak memory of a step on a CPU: `python -m benchmarks.plan [--engine NAME] [--only 0:11]`.

Method. Each config runs in a process of its own, which predicts the peak as `--plan` does, then makes the model and
trains four steps, so that all is compiled and warm. Freed memory is given back (`malloc_trim`), the peak is reset (5 to
/proc/self/clear_refs), and eight more steps are trained: where a heap's blocks come to lie differs from step to step.
Measured is what VmHWM rose above the process as it stood, plus the bytes of the arrays that stood there: the larger of
two such rounds, with malloc set as the worker sets it.
Batches are as full as they can be. Bars: within 10 % (JAX) and 20 % (PyTorch), never more than 5 % under.
`held out` are configs that came later; PyTorch's share of holes was chosen on all of its configs but the last.
"""

import argparse
import ctypes
import gc
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tunix_rt.training import malloc

BARS = {"tunix": 0.10, "torch": 0.20}
UNDER = 0.05
_WARM, _ROUNDS, _TRAINED = 2, 2, 4  # each time two steps
_MIB = 2**20


def matrix() -> Iterator[dict[str, Any]]:
    """Configs, each `{engine, rows, width, vocabulary, config}`."""
    model = {"layers": 4, "width": 256, "hidden": 768, "heads": 4, "kv_heads": 4}
    plain: dict[str, Any] = {"rows": 8, "width": 256, "vocabulary": 4096}
    shapes: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({}, {}, {}),
        ({"layers": 2}, {}, {}),
        ({"layers": 8}, {}, {}),
        ({"layers": 12}, {}, {}),
        ({"width": 512, "hidden": 1536, "heads": 8, "kv_heads": 8}, {}, {}),
        ({"heads": 8, "kv_heads": 2}, {}, {}),
        ({"hidden": 2048}, {}, {}),
        ({}, {"vocabulary": 512}, {}),
        ({}, {"vocabulary": 16_000}, {}),
        ({}, {"vocabulary": 32_000}, {}),
        ({}, {"rows": 16}, {}),
        ({}, {"rows": 32}, {}),
        ({}, {"rows": 4, "width": 512}, {}),
        ({}, {"rows": 2, "width": 1024}, {}),
        ({}, {}, {"accumulation": 2}),
        ({}, {"rows": 16}, {"accumulation": 4}),
        ({}, {}, {"precision": "bfloat16"}),
        ({}, {"vocabulary": 16_000}, {"loss_chunk": 512}),
        ({}, {"rows": 16}, {"activation_checkpointing": True}),
        ({}, {"rows": 16, "vocabulary": 16_000}, {"activation_checkpointing": True, "loss_chunk": 512}),
        ({}, {}, {"method": "lora", "model_id": "base"}),
        ({"tie_embeddings": False}, {}, {}),
    ]
    held_out: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({"layers": 3, "width": 384, "hidden": 1024, "heads": 6, "kv_heads": 2}, {"vocabulary": 8000}, {}),
        ({"layers": 6, "width": 192, "hidden": 512, "heads": 6, "kv_heads": 3}, {"rows": 12, "width": 192}, {}),
        ({"family": "gemma2"}, {"vocabulary": 10_000}, {}),
        ({"family": "qwen3", "layers": 5}, {"rows": 6, "width": 384}, {"accumulation": 3}),
        (
            {"width": 320, "hidden": 960, "heads": 5, "kv_heads": 5},
            {"rows": 3, "width": 640},
            {"precision": "bfloat16"},
        ),
        ({"layers": 10, "width": 128, "hidden": 1024, "heads": 2, "kv_heads": 2}, {"vocabulary": 20_000}, {}),
        ({"layers": 2, "width": 640, "hidden": 640, "heads": 10, "kv_heads": 5}, {"rows": 5, "vocabulary": 6000}, {}),
        ({"width": 384, "heads": 6, "kv_heads": 6}, {"vocabulary": 12_000}, {"method": "lora", "model_id": "base"}),
        ({"layers": 1, "width": 1024, "hidden": 4096, "heads": 16, "kv_heads": 16}, {"rows": 17, "width": 512}, {}),
    ]
    groups = [("", each) for each in shapes] + [("held out", each) for each in held_out]
    for engine, (group, (dimensions, shape, config)) in itertools.product(BARS, groups):
        yield {"engine": engine, "group": group, **plain, **shape, "config": {"model": model | dimensions, **config}}


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(BARS))
    parser.add_argument("--only", default=":", metavar="FROM:TO", help="these of an engine's, counted from 0")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(_one(json.loads(chosen.one))))
        return
    ratios: dict[str, list[float]] = {}
    part = slice(*(int(place) if place else None for place in chosen.only.split(":")))
    print("| engine | model | rows x tokens, vocabulary | options | predicted MiB | measured MiB (least) | ratio |  |")
    print("|---|---|---|---|---|---|---|---|")
    for engine in [chosen.engine] if chosen.engine else BARS:
        for case in [case for case in matrix() if case["engine"] == engine][part]:
            command = [sys.executable, "-m", "benchmarks.plan", "--one", json.dumps(case)]
            environment = os.environ | malloc.environment()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"| {engine} | {case['config']} | failed: {done.stderr.strip().splitlines()[-1]} |")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            ratios.setdefault(f"{engine} {case['group']}".strip(), []).append(found["predicted"] / found["measured"])
            print(_line(case, found), flush=True)
    for group, found in ratios.items():
        within = sum(-UNDER <= ratio - 1 <= BARS[group.split()[0]] for ratio in found)
        print(f"\n{group}: {within} of {len(found)} within the bars; ratios {min(found):.3f} to {max(found):.3f}")


def _line(case: dict[str, Any], found: dict[str, Any]) -> str:
    m, ratio = case["config"]["model"], found["predicted"] / found["measured"]
    family = f"{m['family']} " if "family" in m else ""
    size = f"{family}{m['layers']} x {m['width']}, MLP {m['hidden']}, heads {m['heads']}/{m['kv_heads']}"
    options = [f"{key} {value}" for key, value in case["config"].items() if key not in ("model", "model_id")]
    options += ["untied"] if not m.get("tie_embeddings", True) else []
    options += [case["group"]] if case["group"] else []
    measured = f"{found['measured'] / _MIB:.1f} ({found['least'] / _MIB:.1f})"
    return (
        f"| {case['engine']} | {size} | {case['rows']} x {case['width']}, {case['vocabulary']:,} "
        f"| {', '.join(options)} | {found['predicted'] / _MIB:.1f} | {measured} | {ratio:.3f} "
        f"| {'' if -UNDER <= ratio - 1 <= BARS[case['engine']] else 'MISS'} |"
    )


class Full:
    """One batch without padding, over and over."""

    def __init__(self, case: dict[str, Any]) -> None:
        from tunix_rt.training.engines import Batch

        self.batch_size, self.width = case["rows"], case["width"]
        size = (self.batch_size, self.width)
        tokens = np.random.default_rng(0).integers(0, case["vocabulary"], size).astype(np.int32)
        lengths = np.full(self.batch_size, self.width, np.int32)
        self._batch = Batch(tokens, np.ones(size, np.bool_), lengths, float(math.prod(size)))
        self.evaluation: list[Batch] = []

    def training(self, *_: int) -> Any:
        return self._batch

    def epoch(self, _: int) -> float:
        return 0.0


def _one(case: dict[str, Any]) -> dict[str, Any]:
    from tunix_rt.training.config import TrainingConfig
    from tunix_rt.training.engines import load
    from tunix_rt.training.engines.memory import Shape

    often = {"eval_every_steps": 10**8, "checkpoint_every_steps": 10**8, "batch_size": case["rows"]}
    config = TrainingConfig.model_validate({"engine": case["engine"], **often, **case["config"]})
    engine = load(case["engine"])
    engine.devices("cpu")
    memory = engine.memory(config, Shape(case["rows"], case["width"]), case["vocabulary"], None, lambda _: True)
    with tempfile.TemporaryDirectory() as folder:
        train, held = (_tunix if case["engine"] == "tunix" else _torch)(config, case, Path(folder))
        peaks = _peaks(train, held)
    return {"predicted": memory.peak, "method": memory.method, "measured": max(peaks), "least": min(peaks)}


def _peaks(train: Callable[[], None], held: Callable[[], int]) -> list[int]:
    libc = ctypes.CDLL(None)
    for _ in range(_WARM):
        train()
    peaks = []
    for _ in range(_ROUNDS):
        gc.collect()
        libc.malloc_trim(0)
        stood = held()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _status("VmRSS")
        for _ in range(_TRAINED):
            train()
        peaks.append(_status("VmHWM") - before + stood)
    return peaks


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _start(config: Any, case: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from tunix_rt.training.engines import architecture, lora, model_folder

    d = architecture.from_scratch(config.model, case["vocabulary"], case["width"])
    tensors = model_folder.start(d, 0)
    return d, {**tensors, **(lora.start(d, config.lora, 0) if config.method == "lora" else {})}


def _tunix(config: Any, case: dict[str, Any], folder: Path) -> tuple[Callable[[], None], Callable[[], int]]:
    from benchmarks.training_step import Engine  # sets the environment, before jax is imported
    from tunix_rt.training.engines import jax_folder
    from tunix_rt.training.engines.jax_model import decoder

    jax = importlib.import_module("jax")
    d, tensors = _start(config, case)
    engine = Engine(config, jax_folder.fill(decoder(config, d), tensors), Full(case), folder)

    def train() -> None:
        precise = config.precision == "float32"
        with jax.default_matmul_precision("float32" if precise else "default"), np.errstate(over="ignore"):
            engine.run(2)

    return train, lambda: sum(array.nbytes for array in jax.live_arrays())


def _torch(config: Any, case: dict[str, Any], folder: Path) -> tuple[Callable[[], None], Callable[[], int]]:
    from tunix_rt.training.engines import Job, architecture
    from tunix_rt.training.engines.beginning import Beginning
    from tunix_rt.training.engines.torch_training import Trainer

    d, tensors = _start(config, case)
    job = Job(
        folder=folder,
        config=config,
        batches=Full(case),
        vocabulary=case["vocabulary"],
        total_steps=10**8,
        base=None,
        tokenizer=folder,
        special={},
        resume_from=None,
        fingerprint={},
        emit=lambda *_, **__: None,
        stopping=lambda: False,
    )
    trainer = Trainer(job, Beginning(dimensions=d, content=architecture.to_json(d), tensors=tensors))
    trainer.model.train()

    def train() -> None:
        for _ in range(2):
            trainer.in_flight.add(trainer._train_step())
            trainer.in_flight.drain()

    def held() -> int:
        frozen = sum(value.nbytes for value in trainer.model.parameters())
        return int(frozen + 2 * sum(value.nbytes for value in trainer.parameters.values()))

    return train, held


if __name__ == "__main__":
    main()
