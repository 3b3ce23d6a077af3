"""`tunix-rt demo`: the whole loop on this machine, through the product's own commands, for real.

One start, one data set, one budget; one model learns the answers alone, the other the reasoning that leads to them.
Each demo has a home of its own, so that it neither uses nor touches anything else that is stored.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from tunix_rt.base.errors import Failed
from tunix_rt.base.settings import Settings
from tunix_rt.cli import demo_report, show
from tunix_rt.evaluation import files
from tunix_rt.training import engines, events
from tunix_rt.training.config import TrainingConfig

TASK = "word-problems"
DIGITS = "least_digits=3"
TRACES, HELD_OUT = 12_000, 0.035
STEPS, BATCH = 1600, 16
LEARNING_RATE = 2e-3
TOKENIZER = {"kind": "bpe"}  # words are tokens and digits stay apart: two thirds of the tokens that characters take
MAX_NEW_TOKENS = 128
MODELS = ("untrained", "answers", "reasoning")
PAIRS = (("answers", "reasoning"), ("untrained", "reasoning"), ("untrained", "answers"))
POLL_SECONDS = 0.2


@click.command()
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of everything.")
@show.json_option
def demo(seed: int, as_json: bool) -> None:
    """Run the whole loop: generate, build, train, answer, evaluate, compare; some minutes on a CPU."""
    engines.require(TrainingConfig().engine)
    began = time.monotonic()
    once = _Demo(seed)
    result = once.run()
    result["seconds"] = round(time.monotonic() - began, 1)
    if as_json:
        show.document(result)
    else:
        demo_report.show_report(result, once.json("leaderboard")["boards"][0], once.predictions)


class _Demo:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.home = Settings().home / "demo" / f"{stamp}-seed{seed}-{os.getpid()}"
        self.home.mkdir(parents=True)
        self.predictions: dict[str, Path] = {}
        self.dataset = ""
        # What surrounds the demo must not reach into it: its database is the one in its own home.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
        self.environment = kept | {"TUNIX_RT_HOME": str(self.home)}

    def run(self) -> dict[str, Any]:
        """Go once around the loop; returns the document of `demo --json`, `seconds` still open."""
        eval_set, key = self.data()
        items = files.read_eval_set(eval_set)
        file = files.digest(items).removeprefix("sha256:") + ".jsonl"
        self.predictions = {name: self.folder(name) / "predictions" / file for name in MODELS}
        self.train("untrained", {"dataset": key, "seed": self.seed, "steps": 0, "tokenizer": TOKENIZER})
        start = {"dataset": key, "seed": self.seed, "model_id": str(self.folder("untrained") / "model")}
        budget = {
            "steps": STEPS,
            "batch_size": BATCH,
            "learning_rate": LEARNING_RATE,
            "eval_every_steps": STEPS // 5,
            "checkpoint_every_steps": STEPS,
        }
        show.say(
            f"Training two models from one start, {STEPS:,} steps of {BATCH} examples each; "
            f"then each answers the {len(items)} problems held out"
        )
        scores = self.side_by_side(
            {
                "untrained": None,
                "answers": start | budget | {"data": {"template": "answer"}},
                "reasoning": start | budget | {"data": {"template": "reasoning"}},
            },
            eval_set,
        )
        show.say("Comparing")
        compared = [
            self.json("compare", "--eval-set", eval_set, *(self.predictions[n] for n in pair)) for pair in PAIRS
        ]
        return {
            "task": TASK,
            "seed": self.seed,
            "home": str(self.home),
            "seconds": None,
            "models": [
                {
                    "name": name,
                    "run_dir": str(self.folder(name)),
                    "score": scores[name]["score"],
                    "n": scores[name]["n_items"],
                    "ci": scores[name]["ci"],
                }
                for name in MODELS
            ],
            "comparisons": [
                {"a": a, "b": b} | {field: found[field] for field in ("difference", "ci", "p_value", "verdict")}
                for (a, b), found in zip(PAIRS, compared, strict=True)
            ],
        }

    def side_by_side(self, configs: dict[str, dict[str, Any] | None], eval_set: Path) -> dict[str, Any]:
        """Take each model from its config (None: trained already) to its score, all at once; returns the scores."""
        with show.progress() as bar, ThreadPoolExecutor(len(configs)) as pool:
            tasks = {
                name: bar.add_task(name, total=STEPS, note="compiling") for name, config in configs.items() if config
            }
            lines = _ProgressLines()
            running = {name: pool.submit(self.score, name, config, eval_set) for name, config in configs.items()}
            finished = False
            while not finished:
                finished = all(future.done() for future in running.values())  # before the last look at the steps
                for name, task in tasks.items():
                    if last := _last_step(self.folder(name) / "events.jsonl"):
                        bar.update(task, completed=last["step"], note=f"loss {last['loss']:.4f}")
                        if bar.disable:
                            lines.update(name, last["step"], last["loss"])
                time.sleep(0 if finished else POLL_SECONDS)
            scores = {name: future.result() for name, future in running.items()}
        for name in tasks:
            losses = [event["loss"] for event in events.steps(self.folder(name) / "events.jsonl")]
            show.say(f"  loss of {name:<10} {demo_report.sparkline(losses)} {losses[-1]:.4f}")
        return scores

    def score(self, name: str, config: dict[str, Any] | None, eval_set: Path) -> Any:
        if config:
            self.train(name, config)
        output, limit = self.predictions[name], ("--max-new-tokens", MAX_NEW_TOKENS)
        self.call("generate", "--model", self.folder(name) / "model", "--eval-set", eval_set, "-o", output, *limit)
        given = ("--name", name, "--dataset", self.dataset)
        return self.json("evaluate", "--eval-set", eval_set, "--predictions", output, *given)

    def data(self) -> tuple[Path, str]:
        show.say(f"Everything goes to {self.home}")
        made = self.json("traces", "generate", TASK, "--count", TRACES, "--seed", self.seed, "--option", DIGITS)
        show.say(f"Generated {made['created']:,} {TASK} traces, each step of them checkable")
        manifest = self.json("datasets", "build", TASK, "--source", TASK, "--split", f"eval={HELD_OUT}")
        self.dataset = key = manifest["dataset_key"]
        counts = ", ".join(f"{split['count']:,} {name}" for name, split in manifest["splits"].items())
        show.say(f"Built data set {key}: {counts}")
        eval_set = self.home / "held-out.jsonl"
        self.call("datasets", "export", key, "--format", "eval-set", "--split", "eval", "--output", eval_set)
        return eval_set, key

    def folder(self, name: str) -> Path:
        return self.home / "runs" / name

    def call(self, *words: object) -> str:
        """Run one of the product's commands; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "tunix_rt.cli.main", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = f"{done.stderr.strip()}\n{done.stdout.strip()}".strip()
            raise Failed(f"`tunix-rt {' '.join(map(str, words))}` failed:\n{said}")
        return done.stdout

    def json(self, *words: object) -> Any:
        return json.loads(self.call(*words, "--json"))

    def config(self, name: str, config: dict[str, Any]) -> Path:
        path = self.home / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path

    def train(self, name: str, config: dict[str, Any]) -> None:
        self.call("train", self.config(name, config), "--output", self.folder(name), "--json")


class _ProgressLines:
    """Progress in plain lines, where no bar is drawn: one for each tenth of a model's steps."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tenths: dict[str, int] = {}

    def update(self, name: str, step: int, loss: float) -> None:
        tenth = 10 * step // STEPS
        if tenth == self.tenths.get(name, 0):
            return
        self.tenths[name] = tenth
        left = show.seconds_left(time.monotonic() - self.began, step, STEPS)
        show.say(
            f"  {name:<10} step {step:,} of {STEPS:,}  loss {loss:.4f}  "
            + (f"{left} s left" if step < STEPS else "trained; answers now")
        )


def _last_step(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        tail = file.read().split(b"\n")[1:-1]
    steps = [event for line in tail if (event := json.loads(line))["event"] == "step"]
    return steps[-1] if steps else None
