"""`tunix-rt models merge` and `check`: what becomes of the result of a training on this machine."""

import itertools
from pathlib import Path
from typing import Any

import click

from tunix_rt.base import jsontext
from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.cli import show
from tunix_rt.training import adapter, engines, parity
from tunix_rt.training.engines import ENGINES, transformers_parity
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.parity import Sample


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The new folder.")
@click.option("--base", type=click.Path(path_type=Path), help="The base model, where it lies elsewhere by now.")
@show.json_option
def merge(folder: Path, output: Path, base: Path | None, as_json: bool) -> None:
    """Write the adapter in DIR and its base model as one Hugging Face folder."""
    done = adapter.merge(folder, output, base)
    if as_json:
        show.document(
            {
                "output": str(done.path),
                "base": str(done.base),
                "updated": done.updated,
                "tensors": done.tensors,
                "digest_checked": done.digest_checked,
            }
        )
        return
    if not done.digest_checked:
        show.say(f"Nobody wrote down the digest of {done.base}: that it is the model of the training was not checked.")
    click.echo(f"{done.updated} of {done.tensors} tensors updated: {done.path}")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--prompts", type=click.IntRange(min=1), default=parity.PROMPTS, show_default=True, help="At most.")
@click.option("--data", type=click.Path(path_type=Path), help="JSONL of traces; default: the run's data/eval.jsonl.")
@click.option(
    "--template", type=click.Choice(["reasoning", "answer"]), help="Of --data's completions; default: the run's."
)
@click.option("--engine", type=click.Choice(ENGINES), help="Whose logits; default: the run's, else tunix.")
@show.json_option
def check(
    folder: Path, prompts: int, data: Path | None, template: str | None, engine: str | None, as_json: bool
) -> None:
    """Compare token ids and logits of DIR, a run or a model folder, with transformers'."""
    transformers_parity.require(transformers_parity.LOGITS)
    run = _run(folder)
    model = run.model if run else folder
    if not model.is_dir():
        raise NotFound(f"There is no model folder {model}.", hint="Name a finished run or a model folder.")
    who = engine or (run.config.engine if run else "tunix")
    engines.require(who)
    sample = _sample(run, model, data, template, prompts)
    found: dict[str, Any] = {"model": str(model), "tokens": parity.check_tokens(model, sample)}
    found["logits"] = parity.check_logits(model, who, sample)
    tokens, logits = found["tokens"], found["logits"]
    found["ok"] = not tokens["differences"] and logits["ok"]
    if as_json and found["ok"]:
        show.document(found)
    elif as_json:
        show.document(found)
        raise click.exceptions.Exit(1)
    else:
        show.table(
            ["checked", "n", "result"],
            [
                ["prompts and rows: token ids", tokens["prompts"], f"{tokens['differences']} differences"],
                ["rows left out, not renderable", tokens["left_out"], ""],
                [
                    f"logits, {logits['engine']} and transformers",
                    f"{logits['tokens']} tokens",
                    f"largest difference {logits['largest_difference']:.2g} (allowed {logits['tolerance']:g})",
                ],
            ],
        )
        parity.refuse(found, model)


def _run(folder: Path) -> RunFolder | None:
    """The run that DIR is, or whose model/ it is."""
    for path in (folder, folder.resolve().parent):
        if (path / "config.yaml").is_file() and (path == folder or folder.resolve().name == "model"):
            return RunFolder(path)
    return None


def _sample(run: RunFolder | None, model: Path, data: Path | None, template: str | None, limit: int) -> Sample:
    if data is None:
        if run is None:
            raise BadInput(f"{model} belongs to no run that holds prompts.", hint="Name traces: --data FILE (JSONL).")
        return parity.of_run(run, limit)
    name = template or (run.config.data.template if run else "reasoning")
    return Sample(_traces(data, limit), name, run.tokenizer if run else model, str(data))


def _traces(path: Path, limit: int) -> list[dict[str, Any]]:
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    found: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for number, line in enumerate(itertools.islice(file, limit), start=1):
            try:
                trace = jsontext.loads(line)
                if not isinstance(trace, dict) or not {"id", "prompt", "steps", "final_answer"} <= trace.keys():
                    raise BadInput("not a trace: it needs id, prompt, steps and final_answer")
                if not all(isinstance(step, dict) and "content" in step for step in trace["steps"]):
                    raise BadInput("steps: each needs its content")
            except (jsontext.NotJson, BadInput, TypeError) as error:
                detail = error.detail if isinstance(error, BadInput | jsontext.NotJson) else "steps is no list"
                raise BadInput(
                    f"{path}:{number}: {detail}", hint="Export traces: tunix-rt datasets export KEY --split eval"
                ) from None
            found.append(trace)
    if not found:
        raise BadInput(f"{path} holds no traces.", hint="At least one prompt is compared.")
    return found
