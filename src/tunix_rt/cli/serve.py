"""`tunix-rt serve`: the HTTP API on this machine."""

import click
import uvicorn

from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Others reach it only where this says so.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the HTTP API; Ctrl-C ends it."""
    show.say(f"http://{host}:{port}/docs")
    uvicorn.run(create_app(Settings()), host=host, port=port, log_level="warning")
