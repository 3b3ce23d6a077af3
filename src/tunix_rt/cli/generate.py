"""`tunix-rt generate`: a model's answers to an eval set."""

import hashlib
from pathlib import Path

import click

from tunix_rt.base import jsontext, store
from tunix_rt.cli import show
from tunix_rt.evaluation import files, schemas, sidecar
from tunix_rt.evaluation.sidecar import Engine, Model, Sidecar
from tunix_rt.training import engines, provenance
from tunix_rt.training import generate as generation
from tunix_rt.training.decoding import Decoding
from tunix_rt.training.tokenizer import Folder


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
    """Answer every item of an eval set with a model; write predictions.

    Beside FILE, FILE.meta.json says how they were decoded, by which model, for which eval set: `evaluate` reads it.
    """
    computed_by = engines.pick(engine)
    read = files.read_eval_set(eval_set)
    items = [(item.id, item.prompt) for item in read]
    decoding = Decoding(max_new_tokens, temperature, seed, samples)
    answered_by = Model(
        name=sidecar.model_name(str(model.resolve())),
        tokenizer=Folder(model).digest,
        digest=provenance.model_digest(model),
    )
    cut = count = 0
    written = hashlib.sha256()
    with show.progress() as bar, store.whole(output) as file:
        task = bar.add_task("generating", total=len(items) * samples, note="")
        for answer in generation.answers(
            model, items, decoding, device, lambda n: bar.update(task, completed=n), computed_by
        ):
            line = jsontext.dumps(answer) + b"\n"
            file.write(line)
            written.update(line)
            count += 1
            cut += answer["finish_reason"] == "length"
        # The sidecar of an older file goes first: a crash between the two writes must not leave it beside the new file.
        sidecar.path_of(output).unlink(missing_ok=True)
    sidecar.write(
        output,
        Sidecar(
            predictions="sha256:" + written.hexdigest(),
            decoding=schemas.Decoding(**decoding.parameters),
            decoding_digest=decoding.digest,
            seed=seed,
            eval_set=files.digest(read),
            model=answered_by,
            engine=Engine(name=computed_by, packages=provenance.packages()),
        ),
    )
    if as_json:
        meta = str(sidecar.path_of(output))
        show.document({"output": str(output), "meta": meta, "items": len(items), "predictions": count, "cut_off": cut})
    else:
        click.echo(f"{count} answers to {len(items)} items: {output}")
    if cut:
        show.say(f"{cut} answers were cut off at {max_new_tokens} tokens; raise --max-new-tokens to let them end.")
