"""`tunix-rt generate`: a model's answers to an eval set."""

from pathlib import Path

import click

from tunix_rt.base import jsontext, store
from tunix_rt.cli import show
from tunix_rt.evaluation import files
from tunix_rt.training import engines
from tunix_rt.training import generate as generation
from tunix_rt.training.generate import Decoding


@click.command()
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--eval-set", "eval_set", required=True, type=click.Path(path_type=Path), help="JSONL of items.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Where the predictions go.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0: greedy.")
@click.option("--samples", type=click.IntRange(min=1, max=1000), default=1, show_default=True, help="Answers an item.")
@click.option("--seed", type=click.IntRange(min=0, max=2**31 - 1), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu", "tpu"]), default="auto", show_default=True)
@click.option("--engine", type=click.Choice(engines.ENGINES), help="Default: the first one that is installed.")
@show.json_option
def generate(
    model: Path,
    eval_set: Path,
    output: Path,
    max_new_tokens: int,
    temperature: float,
    samples: int,
    seed: int,
    device: str,
    engine: str | None,
    as_json: bool,
) -> None:
    """Answer every item of an eval set with a model; write predictions."""
    items = [(item.id, item.prompt) for item in files.read_eval_set(eval_set)]
    decoding = Decoding(max_new_tokens, temperature, seed, samples)
    cut = count = 0
    with show.progress() as bar, store.whole(output) as file:
        task = bar.add_task("generating", total=len(items) * samples, note="")
        for answer in generation.answers(
            model, items, decoding, device, lambda n: bar.update(task, completed=n), engine
        ):
            file.write(jsontext.dumps(answer) + b"\n")
            count += 1
            cut += answer["finish_reason"] == "length"
    if as_json:
        show.document({"output": str(output), "items": len(items), "predictions": count, "cut_off": cut})
    else:
        click.echo(f"{count} answers to {len(items)} items: {output}")
    if cut:
        show.say(f"{cut} answers were cut off at {max_new_tokens} tokens; raise --max-new-tokens to let them end.")
