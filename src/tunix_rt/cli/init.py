"""`tunix-rt init`: a training config to start from, for this machine or from an example."""

import shlex
from pathlib import Path
from typing import Any

import click

from tunix_rt.base import store
from tunix_rt.base.errors import Conflict, Failed, WrongUsage
from tunix_rt.cli import show
from tunix_rt.training import examples, starter
from tunix_rt.training.engines import ENGINES


@click.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--engine", type=click.Choice(ENGINES), help="Default: one that computes on the fastest device here.")
@click.option("--model-id", default=starter.SCRATCH, show_default=True, help="Or a model folder: an adapter of it.")
@click.option("--dataset", help="Key of the data set; default: left to `train --dataset`.")
@click.option("--example", type=click.Choice(examples.names()), help="Copy this example instead.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@show.json_option
def init(
    path: Path | None,
    engine: str | None,
    model_id: str,
    dataset: str | None,
    example: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a training config that fits this machine to FILE (default: tunix-rt.yaml).

    Engine, precision and batch are chosen by the devices of this machine and their free memory. With --example, FILE
    is a copy of that example (default: configs/EXAMPLE.yaml).
    """
    if example is not None and (engine or dataset or model_id != starter.SCRATCH):
        raise WrongUsage("--example copies a file as it is; --engine, --model-id and --dataset would change it.")
    path = path or Path("tunix-rt.yaml" if example is None else f"configs/{example}.yaml")
    if path.is_dir():
        raise Conflict(f"{path} is a folder.", hint=f"Name a file: tunix-rt init {path / 'tunix-rt.yaml'}")
    if path.exists() and not force:
        raise Conflict(f"{path} exists already.", hint="Name another file, or overwrite it: add --force.")
    text, facts = _for_this_machine(engine, model_id, dataset) if example is None else (examples.read(example), {})
    try:
        with store.whole(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}.", hint="Name another file.") from error
    key = "" if dataset else " --dataset KEY"
    next_command = f"tunix-rt train {shlex.quote(str(path))}{key} --plan"
    if as_json:
        show.document({"path": str(path), **facts, "next": next_command})
        return
    click.echo(str(path))
    for reason in facts.get("reasons", ()):
        show.say(f"  {reason}")
    for warning in facts.get("warnings", ()):
        show.say(warning)
    show.say(f"Next: {next_command}")


def _for_this_machine(engine: str | None, model_id: str, dataset: str | None) -> tuple[str, dict[str, Any]]:
    """The text of a config, and what `--json` says about it."""
    machine = starter.detect(engine)
    chosen = starter.choose(machine, model_id, dataset)
    warnings = [machine.problem] if machine.problem else []
    if chosen.fits is False:
        warnings.append("By formula it does not fit in the free memory: --plan names the changes that make it fit.")
    return chosen.text, {
        "engine": machine.engine,
        "available": machine.problem is None,
        "device": machine.device,
        "devices": list(machine.devices),
        "free_bytes": machine.free_bytes,
        "peak_bytes": chosen.peak_bytes,
        "model_id": chosen.config.model_id,
        "method": chosen.config.method,
        "batch_size": chosen.config.batch_size,
        "reasons": list(chosen.reasons),
        "warnings": warnings,
    }
