"""`tunix-rt serve`: the HTTP API on this machine."""

import socket

import click
import uvicorn

from tunix_rt.app import create_app
from tunix_rt.base.errors import Failed
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Others reach it only where this says so.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the HTTP API; Ctrl-C ends it."""
    app = create_app(Settings())
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Failed(
                f"Cannot listen on {host}:{port}: {error.strerror}.",
                hint="Is a server running there already? Take another port: --port 8001 (0: any free one).",
            ) from None
        listener.listen()
        shown = f"[{host}]" if ":" in host else host
        show.say(f"Serving on http://{shown}:{listener.getsockname()[1]}/docs")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
