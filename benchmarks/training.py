"""Training beside TRL: `python -m benchmarks.training [--rounds N] [--rows N] [--only NAME ...] [--json]`.

TRL is no dependency of the project; it is run from a folder of its own, on the project's torch and transformers:

    uv pip install --python .venv/bin/python --target .cache/benchmarks/trl --no-deps trl==1.16.0

Method. Every contender trains the same Llama (4 x 256, MLP 768, 4 heads, a BPE of 4,096, tied) from the same folder of
weights on the same rows (GSM8K's training solutions, rendered by the project; generated sums where they are not at
hand), the loss on the completions alone, AdamW, clipping at 1, a constant learning rate, 16 rows a step or, where rows
are packed, as many tokens as they have on average. TRL is its SFTTrainer with SFTConfig's defaults, but for what the
table names and without gradient checkpointing, which would slow it. Ours goes through the engine's own contract, events
and all, with malloc as the worker sets it. Each contender is a process of its own on all cores. A round is an epoch, so
that everybody trains the same tokens; the first epoch, in which programs are compiled, is not counted. Rounds alternate
between the contenders; figures are medians, of tokens without padding. CPU time stands beside wall time, since other
work on the machine moves it less. With --check each trains one step of the same 16 rows before: equal losses say that
all compute the same.
"""

import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import ROOT, Process, Turns
from tunix_rt.base.errors import BadInput
from tunix_rt.traces.importers import gsm8k
from tunix_rt.training import malloc, render, tokenizer
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.config import DataChoice, TrainingConfig
from tunix_rt.training.engines import Batch, Job, architecture, jax_environment, load, model_folder
from tunix_rt.training.render import Row
from tunix_rt.training.tokenizer import Folder

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k" / "train.jsonl"
TRL = ROOT / ".cache" / "benchmarks" / "trl"
BATCH, PACKED, VOCABULARY = 16, 512, 4096
SHAPE = {"layers": 4, "width": 256, "hidden": 768, "heads": 4, "kv_heads": 4}
_BF16 = {"precision": "bfloat16"}
OURS: dict[str, dict[str, Any]] = {
    "tunix": {"engine": "tunix"},
    "tunix packed": {"engine": "tunix", "batching": "packed"},
    "torch": {"engine": "torch"},
    "torch packed": {"engine": "torch", "batching": "packed"},
    "torch bf16": {"engine": "torch", **_BF16},
    "tunix bf16": {"engine": "tunix", **_BF16},
}
THEIRS: dict[str, dict[str, Any]] = {
    "trl": {},
    "trl grouped": {"train_sampling_strategy": "group_by_length"},
    "trl bfd": {"packing": True},
    "trl wrapped": {"packing": True, "packing_strategy": "wrapped"},
    "trl padding_free": {"padding_free": True, "max_length": None},  # it does not cut; no row is longer
    "trl compiled": {"torch_compile": True, "pad_to_multiple_of": 64},
    "trl bf16": {"bf16": True},
    "trl bf16 grouped": {"bf16": True, "train_sampling_strategy": "group_by_length"},
    "trl bf16 wrapped": {"bf16": True, "packing": True, "packing_strategy": "wrapped"},
}


def write(folder: Path, count: int) -> list[Row]:
    """The model with its tokenizer, and the rows, as every contender reads them."""
    traces = _traces(count)
    texts = [f"{trace['prompt']}\n{render.completion(trace, 'reasoning')}" for trace in traces]
    tokenizer.train(texts, "bpe", VOCABULARY, folder / "tokenizer")
    known = Folder(folder / "tokenizer")
    made = (render.row(trace, known, DataChoice()) for trace in traces)
    rows = [row for row in made if isinstance(row, Row) and len(row.tokens) <= PACKED]
    config = TrainingConfig.model_validate({"model": SHAPE})
    d = architecture.from_scratch(config.model, known.size, PACKED)
    content, tensors = architecture.to_json(d), model_folder.start(d, 0)
    model_folder.write_folder(folder / "base", tensors, content, known.special, folder / "tokenizer", np.float32)
    (folder / "rows.json").write_text(json.dumps([[row.id, row.tokens, row.start, row.stop] for row in rows]))
    return rows


def _traces(count: int) -> list[dict[str, Any]]:
    if not GSM8K.is_file():
        random = np.random.default_rng(0)
        numbers = [random.integers(1, 1000, random.integers(5, 40)).tolist() for _ in range(count)]
        steps = [
            [{"content": f"{sum(each[:n])}+{each[n]}={sum(each[: n + 1])}"} for n in range(1, len(each))]
            for each in numbers
        ]
        return [
            {"id": str(n), "prompt": "+".join(map(str, each)), "steps": steps[n], "final_answer": str(sum(each))}
            for n, each in enumerate(numbers)
        ]
    found = []
    with GSM8K.open() as lines:
        for number, line in zip(range(count), lines, strict=False):
            try:
                found.append({**gsm8k.convert(json.loads(line)), "id": str(number)})
            except BadInput:
                continue
    return found


def read(folder: Path, count: int | None) -> list[Row]:
    """The first rows that were written; None: all."""
    return [Row(*fields) for fields in json.loads((folder / "rows.json").read_text())[:count]]


def settings(chosen: Mapping[str, Any], rows: list[Row]) -> TrainingConfig:
    """One of ours as a config."""
    packed = chosen.get("batching") == "packed"
    return TrainingConfig.model_validate(
        {
            **chosen,
            "model": SHAPE,
            "batch_size": BATCH,
            "batch_tokens": packed_rows(rows) * PACKED if packed else None,
            "data": {"max_length": PACKED},
            "learning_rate": 1e-4,
            "schedule": "constant",
            "warmup_steps": 0,
            "eval_every_steps": 10**8,
            "checkpoint_every_steps": 10**8,
        }
    )


def packed_rows(rows: list[Row]) -> int:
    """Packed rows that hold as many tokens as a batch of rows does on average."""
    return max(1, round(BATCH * statistics.mean(len(row.tokens) for row in rows) / PACKED))


class _Clock:
    """Tells each epoch's time at its end."""

    def __init__(self) -> None:
        self._turns = Turns()
        self.first_loss: float | None = None
        self._started = (time.perf_counter(), time.process_time())

    def lap(self) -> bool:
        wall, cpu = self._started
        measured = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "loss": self.first_loss}
        more = self._turns.next(measured)
        self._started = (time.perf_counter(), time.process_time())
        return more

    def note(self, loss: float) -> None:
        self.first_loss = loss if self.first_loss is None else self.first_loss


class _Rounds(RowBatches):
    """Batches that wait for their turn between two epochs."""

    over = False

    def __init__(self, clock: _Clock, *data: Any, **more: Any) -> None:
        super().__init__(*data, **more)
        self._clock = clock

    def training(self, step: int, micro: int) -> Batch:
        # A first step's loss is told a few steps later.
        if step > 3 and (step - 1) % self.micro_batches == 0 and not self.over:
            if jax := sys.modules.get("jax"):
                jax.block_until_ready(jax.live_arrays())  # JAX runs ahead
            self.over = not self._clock.lap()
        return super().training(step, micro)


def ours(name: str, folder: Path, count: int | None) -> None:
    """Take turns as one of our engines."""
    rows, clock, known = read(folder, count), _Clock(), Folder(folder / "tokenizer")
    config = settings(OURS[name], rows)
    batches = _Rounds(clock, rows, [], config, padding=known.padding)

    def emit(event: str, **fields: Any) -> None:
        if event == "step":
            clock.note(fields["loss"])

    engine = load(config.engine)
    engine.devices("cpu")
    engine.train(
        Job(
            folder=Path(tempfile.mkdtemp(dir=folder)),
            config=config,
            batches=batches,
            vocabulary=known.size,
            total_steps=10**6,
            base=folder / "base",
            tokenizer=folder / "tokenizer",
            special=known.special,
            resume_from=None,
            fingerprint={},
            emit=emit,
            stopping=lambda: batches.over,
        )
    )


def theirs(name: str, folder: Path, count: int | None) -> None:
    """Take turns as TRL's trainer."""
    import torch
    import transformers
    import trl  # type: ignore[import-not-found]  # in a folder of its own

    import datasets  # type: ignore[import-untyped]  # it has no stubs

    torch.set_num_threads(jax_environment.threads())
    rows, clock, chosen = read(folder, count), _Clock(), THEIRS[name]
    data = [
        {
            "input_ids": row.tokens,
            "labels": [-100] * row.start + row.tokens[row.start : row.stop] + [-100] * (len(row.tokens) - row.stop),
        }
        for row in rows
    ]

    class Callback(transformers.TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        def on_epoch_begin(self, *given: Any, **_: Any) -> None:
            _, state, control = given
            if state.global_step:
                control.should_training_stop = not clock.lap()

        def on_log(self, *_: Any, logs: Mapping[str, Any], **__: Any) -> None:
            if "loss" in logs:
                clock.note(float(logs["loss"]))

    config = trl.SFTConfig(
        output_dir=str(folder / "trl"),
        **{"bf16": False, "max_length": PACKED, **chosen},
        per_device_train_batch_size=packed_rows(rows) if chosen.get("packing") else BATCH,
        num_train_epochs=10**4,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        adam_beta2=0.99,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=1 if count else 10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trl.SFTTrainer(
        transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32),
        config,
        train_dataset=datasets.Dataset.from_list(data),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder / "base"),
        callbacks=[Callback()],
    ).train()


def start(name: str, folder: Path, count: int | None = None) -> Process:
    """A contender that has trained its first epoch of so many rows."""
    command = [sys.executable, "-m", "benchmarks.training", "--contender", name, str(folder), str(count or 0)]
    return Process(
        command, folder / f"{name}.log", {"PYTHONPATH": str(TRL)} if name in THEIRS else malloc.environment()
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--only", nargs="*", choices=[*OURS, *THEIRS], default=[*OURS, *THEIRS])
    parser.add_argument("--check", action="store_true", help="compare the losses of a first step")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--contender", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contender:
        name, folder, count = chosen.contender
        (ours if name in OURS else theirs)(name, Path(folder), int(count) or None)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = write(folder, chosen.rows)
        tokens = sum(len(row.tokens) for row in rows)
        print(f"{len(rows)} rows, {tokens:,} tokens, {sum(row.stop - row.start for row in rows):,} of them supervised")
        losses, players = {}, {}
        for name in chosen.only:
            try:
                if chosen.check:
                    check = start(name, folder, BATCH)
                    losses[name] = check.ready["loss"]
                    check.close()
                players[name] = start(name, folder)
            except RuntimeError as error:
                print(f"{name} does not run here: {str(error).strip().splitlines()[-1]}", flush=True)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in players}
        for number in range(chosen.rounds):
            for name in list(players)[:: 1 if number % 2 else -1]:
                found[name].append(players[name].play())
        for player in players.values():
            player.close()
    table = {
        name: {key: tokens / statistics.median(lap[key] for lap in laps) for key in ("seconds", "cpu")}
        for name, laps in found.items()
    }
    best = functools.partial(max, default=float("nan"))
    for key in ("seconds", "cpu"):
        them = best(table[name][key] for name in table if name in THEIRS)
        for name in table:
            table[name][f"{key} ratio"] = table[name][key] / them
    if chosen.json:
        print(json.dumps({"tokens": tokens, "table": table, "losses": losses}))
        return
    print(f"{'':18}{'tokens/s':>10}{'by TRL':>8}{'tokens/CPU s':>14}{'by TRL':>8}{'loss at step 1':>16}")
    for name, line in table.items():
        shown = (
            f"{name:18}{line['seconds']:10,.0f}{line['seconds ratio']:8.2f}{line['cpu']:14,.0f}{line['cpu ratio']:8.2f}"
        )
        print(f"{shown}{losses[name]:16.5f}" if name in losses else shown)


if __name__ == "__main__":
    main()
