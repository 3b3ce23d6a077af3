"""`tunix-rt train`: a training here and now, watched from the first step to the result."""

import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.progress import TaskID

from tunix_rt.base.errors import BadInput, WrongUsage
from tunix_rt.base.settings import Settings
from tunix_rt.cli import door, show
from tunix_rt.cli.datasets import lines
from tunix_rt.training import child, config, engines, folder, fork, story
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.folder import RunFolder

PLAIN_EVERY_SECONDS = 10.0
PARTS = ("supervised", "context", "padding")


@click.command()
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@click.option("--dataset", help="Key of the data set; else the config's `dataset`.")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder; default: one under TUNIX_RT_HOME/runs.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu", "tpu"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the run in --output from its newest checkpoint.")
@click.option(
    "--fork",
    "forked",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="A new run from the parameters of run folder RUN's newest checkpoint, with a changed config; "
    "CONFIG left out: RUN's own. Optimizer and steps begin anew.",
)
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a key of the config.")
@click.option("--plan", "plan_only", is_flag=True, help="Print config, plan and ledger, and stop.")
@show.json_option
@click.pass_obj
def train(
    obj: dict[str, Any],
    config_path: Path | None,
    dataset: str | None,
    output: Path | None,
    device: str,
    resume: bool,
    forked: Path | None,
    overrides: tuple[str, ...],
    plan_only: bool,
    as_json: bool,
) -> None:
    """Train a model by CONFIG (YAML; left out: a small model from scratch).

    SIGUSR1 saves a checkpoint after the present step; Ctrl-C or SIGTERM saves one and stops.
    """
    if resume and forked is not None:
        raise WrongUsage("--resume goes on with a run as it was; --fork starts a new one from it. Take one of them.")
    if resume and output is None:
        raise WrongUsage("--resume needs --output, the folder of the run to go on with.")
    if resume and plan_only:
        raise WrongUsage("--plan tells of a new run; a run that is resumed has its plan in events.jsonl.")
    if resume and config_path is None and output is not None and (output / "config.yaml").exists():
        config_path = output / "config.yaml"
    if forked is not None and config_path is None:
        config_path = forked / "config.yaml"
    resolved = config.load(config_path, overrides) if config_path else config.resolve("", "the defaults", overrides)
    if dataset is not None:
        resolved = resolved.model_copy(update={"dataset": dataset})
    engines.require(resolved.engine)

    def make(path: Path) -> RunFolder:
        if forked is not None:
            return fork.fork(path, forked, resolved, device)
        return _create(obj["url"], resolved, path, device)

    if resume:
        assert output is not None, "checked above"
        run = folder.reopen(output, resolved)
        outcome = _Watch(run, as_json).run(child.prepare(run, device), resume=True)
    elif plan_only:
        with tempfile.TemporaryDirectory(prefix="tunix-rt-plan-") as scratch:
            _plan(make(Path(scratch) / "run"), device, as_json)
        return
    else:
        run = make(output or _new_path(forked / "fork" if forked else config_path))
        with folder.removed_on_error(run.path):  # a refused training leaves nothing behind
            prepared = child.prepare(run, device)
        outcome = _Watch(run, as_json).run(prepared, resume=False)
    if outcome == "stopped":
        raise click.exceptions.Exit(130)


def _new_path(config_path: Path | None) -> Path:
    name = re.sub(r"[^a-z0-9._-]+", "-", (config_path.stem if config_path else "scratch").lower())
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    base = Settings().home / "runs" / f"{name}-{stamp}"
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _create(url: str | None, resolved: TrainingConfig, output: Path, device: str) -> RunFolder:
    key = resolved.dataset
    if key is None:
        raise BadInput(
            "No data set is named.",
            hint="Add --dataset KEY or `dataset: KEY` to the config; see what there is: tunix-rt datasets list",
        )

    async def fetch() -> tuple[dict[str, Any], dict[str, list[bytes]]]:
        async with door.client(url) as api:
            manifest = await door.call(api, "GET", f"/api/datasets/{door.quote(key)}")
            splits = {"train": resolved.data.train_split, "eval": resolved.data.eval_split}
            present = {name: split for name, split in splits.items() if name == "train" or split in manifest["splits"]}
            found = {name: [line async for line in lines(api, key, split)] for name, split in present.items()}
            return manifest, {"train": [], "eval": []} | found

    manifest, splits = door.run(fetch())
    known = {name: manifest[name] for name in ("dataset_key", "digest", "splits")}
    return folder.create(output, resolved, dict(splits), known, device)


def _plan(run: RunFolder, device: str, as_json: bool) -> None:
    prepared = child.prepare(run, device, exact=True)
    document = {
        "config": run.config.model_dump(mode="json"),
        "plan": prepared.plan.document(),
        "ledger": {split: ledger.document() for split, ledger in prepared.ledgers.items()},
    }
    if as_json:
        show.document(document)
        return
    click.echo(config.dump(run.config))
    plan = prepared.plan
    tokens = document["ledger"]["train"]["tokens"]
    show.table(
        ["plan", ""],
        [
            ["device", plan.device],
            ["parameters", f"{plan.parameters:,}"],
            ["vocabulary", f"{plan.vocabulary:,}"],
            ["steps", f"{plan.steps:,} = {plan.epochs:g} epochs of {plan.rows:,} rows"],
            ["evaluation rows", f"{plan.evaluation_rows:,}"],
            ["tokens a step", f"{plan.tokens_per_step:,} (mean, with padding; at most {plan.width} a row)"],
            ["tokens in all", f"{plan.tokens:,}, padding included"],
            [
                "tokens of an epoch",
                "{supervised:,} supervised, {context:,} context, {padding:,} padding".format(**tokens),
            ],
            *([f"memory: {name}", _bytes(size)] for name, size in plan.memory_bytes.items()),
            ["memory at the peak", f"{_bytes(plan.peak_bytes)} by {plan.memory_method}, {_free(plan.available_bytes)}"],
            ["time", "unknown" if plan.seconds is None else f"about {plan.seconds:,.0f} s, an estimate"],
            ["disk", _bytes(plan.disk_bytes)],
        ],
    )
    show.say("\nNothing was trained or kept. To start it, leave out --plan.")


def _bytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.2f} GiB"


def _free(size: int | None) -> str:
    return "what is free is unknown" if size is None else f"{_bytes(size)} free"


class _Watch:
    """Shows a training as it goes: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, run: RunFolder, as_json: bool) -> None:
        self.folder, self.as_json = run, as_json
        self.bar = show.progress()
        self.task: TaskID | None = None
        self.last: dict[str, Any] = {}
        self.evaluation: dict[str, Any] = {}
        self.total = 0
        self.said = 0.0
        self.began = time.monotonic()
        self.first = 0

    def run(self, prepared: child.Prepared, resume: bool) -> str:
        with self.bar:
            outcome = child.run(self.folder, prepared, resume, self.told)
        path = self.folder.path
        if outcome.reason == "stopped":
            show.say(
                f"Stopped at step {outcome.step} of {self.total}"
                + ("; everything is in its checkpoint. Go on with:\n" if outcome.step else ". Start it with:\n")
                + f"  tunix-rt train --resume --output {path}"
            )
        result = {
            "run_dir": str(path),
            "model": str(self.folder.model) if outcome.reason == "completed" else None,
            "reason": outcome.reason,
            "step": outcome.step,
            "early": outcome.early,
            "best_step": outcome.best_step,
            "loss": self.last.get("loss"),
            "eval_loss": self.evaluation.get("loss"),
            "seconds": round(time.monotonic() - self.began, 3),
        }
        if self.as_json:
            show.document(result)
        elif outcome.reason == "completed":
            figures = [f"{name} {result[name]:.4f}" for name in ("loss", "eval_loss") if result[name] is not None]
            click.echo(f"Trained {outcome.step} steps in {result['seconds']:.0f} s. {', '.join(figures)}")
            if outcome.early:
                show.say(f"Ended early: {self.folder.config.early_stopping_evals} evaluations brought no lower loss.")
            if outcome.best_step is not None:
                show.say(f"The model is that of step {outcome.best_step}, the lowest evaluation loss.")
            click.echo(str(self.folder.model))
            show.say(f"Next: tunix-rt generate --model {self.folder.model} --eval-set FILE --output predictions.jsonl")
        return outcome.reason

    def told(self, event: str, fields: dict[str, Any]) -> None:
        getattr(self, f"_on_{event}", lambda _: None)(fields)

    def _on_plan(self, fields: dict[str, Any]) -> None:
        self.total = fields["steps"]
        show.say(f"{story.line('plan', fields)}\nRun folder: {self.folder.path}")
        if fields["resumed_from"]:
            self.first = int(fields["resumed_from"].removeprefix("step-"))
        self.task = self.bar.add_task("compiling", total=self.total, completed=self.first, note="")

    def _on_step(self, fields: dict[str, Any]) -> None:
        self.last = fields
        if self.task is not None:
            note = story.figures(fields)
            self.bar.update(self.task, completed=fields["step"], description="training", note=note)
        now = time.monotonic()
        if self.bar.disable and (now - self.said > PLAIN_EVERY_SECONDS or fields["step"] == self.total):
            self.said = now
            left = show.seconds_left(now - self.began, fields["step"] - self.first, self.total - self.first)
            show.say(f"{story.line('step', fields, self.total)}  {left} s left")

    def _on_eval(self, fields: dict[str, Any]) -> None:
        self.evaluation = fields
        self._say("eval", fields)

    def _on_warning(self, fields: dict[str, Any]) -> None:
        self._say("warning", fields)

    def _say(self, event: str, fields: dict[str, Any]) -> None:
        line = story.line(event, fields, self.total) or ""
        if self.bar.disable:
            show.say(line)
        else:
            self.bar.print(line, markup=False)
