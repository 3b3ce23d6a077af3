"""`tunix-rt worker`: one process that claims queued runs and trains them."""

import click

from tunix_rt.base.settings import Settings
from tunix_rt.worker import main


@click.command()
@click.option("--name", help="What it is called in lists; default: this machine's name and the process id.")
@click.option("--parent-fd", type=click.IntRange(min=0), hidden=True, help="A pipe that ends when `serve` does.")
def worker(name: str | None, parent_fd: int | None) -> None:
    """Work on queued runs until it is told to stop; Ctrl-C lets the current run checkpoint and requeues it."""
    raise click.exceptions.Exit(main(Settings(), name=name, parent_fd=parent_fd))
