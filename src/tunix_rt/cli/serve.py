"""`tunix-rt serve`: the web app and the HTTP API on this machine, and the workers beside them."""

import contextlib
import ipaddress
import os
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from tunix_rt import web
from tunix_rt.app import create_app
from tunix_rt.base import log, stop_signals
from tunix_rt.base.db import database_url
from tunix_rt.base.errors import Failed
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show
from tunix_rt.cli.supervise import Workers

CONNECTIONS_SECONDS = 5  # for answers that are under way when the server ends
DRAIN_SECONDS = 15.0  # for a worker, on top of the grace that its training has


class _Server(uvicorn.Server):
    """Starts the workers once the API listens; ends log streams, the workers and the API, in this order."""

    def __init__(self, app: FastAPI, settings: Settings, workers: Workers) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",  # ours, so that its errors are ours to report
                log_config=None,
                log_level="warning",
                access_log=False,
                ws="none",  # a handshake of a WebSocket is then an HTTP request, which the middleware checks
                timeout_graceful_shutdown=CONNECTIONS_SECONDS,
            )
        )
        self.app, self.workers = app, workers
        self.drain_seconds = settings.cancel_grace_seconds + DRAIN_SECONDS
        self.interrupted = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with self.app.router.lifespan_context(self.app):
            with self._hearing():
                await super().serve(sockets)
                await self.workers.gone(self.drain_seconds)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self.workers.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.app.state.hub.close()
        self.app.state.feed.close()
        self.workers.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in stop_signals.caught()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the base would raise the signal again before the workers are gone and the database is closed."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends us in good order, a second Ctrl-C at once."""
        super().handle_exit(sig, frame)
        self.interrupted = self.interrupted or sig == signal.SIGINT
        if self.force_exit:
            self.workers.kill()
            os._exit(130)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Others reach it only where this says so.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--workers", "count", type=click.IntRange(0, 64), default=1, show_default=True, help="That train.")
@click.option(
    "--allowed-hosts",
    multiple=True,
    metavar="NAME[,NAME...]",
    help="Further host names of this server, for a proxy or a network. Loopback names, --host and "
    "TUNIX_RT_ALLOWED_HOSTS are always allowed.",
)
def serve(host: str, port: int, count: int, allowed_hosts: tuple[str, ...]) -> None:
    """Serve the web app and the HTTP API, and train what is queued; Ctrl-C ends all, and queued work is kept."""
    settings = Settings()
    names = (*settings.allowed_hosts, *",".join(allowed_hosts).split(","), host.partition("%")[0])
    settings = Settings(allowed_hosts=names)
    database = database_url(settings.sqlalchemy_url).render_as_string(hide_password=True)
    log.configure(settings)
    app = create_app(settings)
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        if web.is_built():
            show.say(f"Web app: {address}")
            show.say(f"  API       {address}/docs")
        else:
            show.say(f"API: {address}")
            show.say("  web app   not built; in the repository, with Node.js 20 and npm: make web")
        show.say(f"  home      {settings.home}")
        show.say(f"  database  {database}")
        show.say(f"  workers   {count or 'none: runs wait until a worker runs (tunix-rt worker)'}")
        if not _is_loopback(host):
            show.say(
                f"Warning: {host} can be reached by others, and there are no accounts: whoever reaches the port may "
                "read and change everything. See SECURITY.md."
            )
        server = _Server(app, settings, Workers(count))
        server.run(sockets=[listener])
    if server.interrupted:
        raise KeyboardInterrupt


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise Failed(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            hint="Is a server running there already? Take another port: --port 8001 (0: any free one).",
        ) from None
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
