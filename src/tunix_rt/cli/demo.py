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
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import yaml

from tunix_rt.base.errors import Failed
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show
from tunix_rt.evaluation import files
from tunix_rt.training import engines, events
from tunix_rt.training.config import TrainingConfig

TASK = "word-problems"
DIGITS = "least_digits=3"
TRACES, HELD_OUT = 12_000, 0.035
STEPS, BATCH = 800, 32
MAX_NEW_TOKENS = 128
MODELS = ("untrained", "answers", "reasoning")
PAIRS = (("answers", "reasoning"), ("untrained", "reasoning"), ("untrained", "answers"))
EXAMPLES = 3
POLL_SECONDS = 0.2
SPARKS = "▁▂▃▄▅▆▇█"


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
        _report(result, once.json("leaderboard")["boards"][0], once.predictions)


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
        self.train("untrained", {"dataset": key, "seed": self.seed, "steps": 0})
        start = {"dataset": key, "seed": self.seed, "model_id": str(self.folder("untrained") / "model")}
        budget = {"steps": STEPS, "batch_size": BATCH, "eval_every_steps": STEPS // 5, "checkpoint_every_steps": STEPS}
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
            running = {name: pool.submit(self.score, name, config, eval_set) for name, config in configs.items()}
            while not all(future.done() for future in running.values()):
                for name, task in tasks.items():
                    if last := _last_step(self.folder(name) / "events.jsonl"):
                        bar.update(task, completed=last["step"], note=f"loss {last['loss']:.4f}")
                time.sleep(POLL_SECONDS)
            scores = {name: future.result() for name, future in running.items()}
        for name in tasks:
            losses = [event["loss"] for event in events.steps(self.folder(name) / "events.jsonl")]
            show.say(f"  loss of {name:<10} {_spark(losses)} {losses[-1]:.4f}")
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


def _last_step(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        tail = file.read().split(b"\n")[1:-1]
    steps = [event for line in tail if (event := json.loads(line))["event"] == "step"]
    return steps[-1] if steps else None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def _spark(values: list[float], width: int = 60) -> str:
    """A curve in one line of text: the mean of each of `width` buckets, lowest to highest."""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1
    return "".join(SPARKS[round((mean - low) / span * (len(SPARKS) - 1))] for mean in means)


# --- the report -------------------------------------------------------------------------------------------------


def _report(result: dict[str, Any], board: dict[str, Any], predictions: dict[str, Path]) -> None:
    home = Path(result["home"])
    _examples(_lines(home / "held-out.jsonl")[:EXAMPLES], predictions)
    click.echo()
    click.secho(
        f"Leaderboard: {result['task']}, {board['n_items']} held-out problems, judged by {board['judge']}", bold=True
    )
    show.table(
        ["rank", "model", "exact", "95 % interval", "n", "p against the first"],
        [
            [
                row["rank"],
                row["name"],
                f"{100 * row['score']:.1f} %",
                "{:.1f} to {:.1f}".format(*(100 * bound for bound in row["ci"])),
                row["n_items"],
                "" if row["p_value"] is None else f"{row['p_value']:.2g}",
            ]
            for row in board["rows"]
        ],
        right=["rank", "exact", "n"],
        always_drawn=True,
    )
    click.echo("p: exact McNemar test, Holm over the board. Rows that cannot be told apart share a rank.")
    click.echo()
    for pair in result["comparisons"]:
        low, high = (f"{100 * bound:+.1f}" for bound in pair["ci"])
        click.echo(
            f"{pair['b']} against {pair['a']}: {100 * pair['difference']:+.1f} points "
            f"(95 % interval {low} to {high}, p = {pair['p_value']:.2g}): {pair['verdict']}"
        )
    click.echo(
        f"\nThe whole loop took {result['seconds']:.0f} s with seed {result['seed']}. Everything is in:\n  {home}"
    )
    model, item = home / "runs" / "reasoning" / "model", home / "held-out.jsonl"
    click.echo(
        f"""
Look further:
  export TUNIX_RT_HOME={home}
  tunix-rt datasets audit {result["task"]}-v1 --tokenizer {model} --show 1    # what exactly was trained
  tunix-rt traces list --source {result["task"]} --limit 5
  tunix-rt generate --model {model} --eval-set {item} -o again.jsonl
Then again with another seed (tunix-rt demo --seed 1), or with traces of your own: see docs/tour.md."""
    )


def _examples(items: list[dict[str, Any]], predictions: dict[str, Path]) -> None:
    said = {name: {line["id"]: line for line in _lines(path)} for name, path in predictions.items()}
    for item in items:
        click.echo()
        click.secho(f"{show.printable(item['prompt'])}  [{show.printable(item['expected_answer'])}]", bold=True)
        for name, answers in said.items():
            output = show.printable(" / ".join(answers[item["id"]]["output"].split("\n")))
            if not output.strip(" /"):
                output = f"({len(output)} characters, all blank)"
            click.echo(f"  {name:<10} {output if len(output) <= 110 else output[:109] + '…'}")
