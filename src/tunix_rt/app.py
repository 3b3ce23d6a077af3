"""The HTTP application: the one place that knows every router."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from tunix_rt import __version__, migrations, monitor, pipeline, web, worker
from tunix_rt.base import http
from tunix_rt.base.allowed_hosts import AllowedHosts
from tunix_rt.base.db import Database
from tunix_rt.base.security_middleware import SecurityMiddleware
from tunix_rt.base.settings import Settings
from tunix_rt.base.together import Together
from tunix_rt.datasets.routes import router as datasets
from tunix_rt.evaluation import queued
from tunix_rt.evaluation.routes import router as evaluation
from tunix_rt.evaluation.standings import Keeper
from tunix_rt.jobs import loop
from tunix_rt.jobs.here import Here
from tunix_rt.registry.routes import router as registry
from tunix_rt.regression.routes import router as regression
from tunix_rt.runs.feed import Feed
from tunix_rt.runs.routes import router as runs
from tunix_rt.runs.status import LocalEngines
from tunix_rt.runs.tail import Hub
from tunix_rt.traces.routes import router as traces


def create_app(settings: Settings) -> FastAPI:
    """Build the application.

    Args:
        settings: read once, passed down; nothing else is read from the environment.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = database = Database(settings.sqlalchemy_url)
        handlers = worker.handlers(database, settings)
        app.state.hub = hub = Hub(database, settings.home)
        app.state.feed = feed = Feed(database, pipeline.NEWEST)
        app.state.lists = Together[bytes]()
        app.state.standings = Keeper()
        app.state.local_engines = LocalEngines()
        stopping = asyncio.Event()
        app.state.here = Here(database, handlers, settings.lease_seconds, stopping)
        background: list[asyncio.Task[None]] = []
        try:
            await migrations.prepare(settings, database)
            background += [
                asyncio.create_task(hub.run()),
                asyncio.create_task(feed.run()),
                asyncio.create_task(loop.keep_reaping(database, handlers, settings.lease_seconds)),
                asyncio.create_task(monitor.hand_in(database)),
            ]
            yield
        finally:
            hub.close()
            feed.close()
            stopping.set()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await database.close()

    app = FastAPI(
        title="Tunix RT",
        version=__version__,
        lifespan=life,
        docs_url=None,  # FastAPI's page loads scripts from another host; `web` has one of its own
        redoc_url=None,
        redirect_slashes=False,  # such a redirect repeats the request's Host
    )
    app.state.settings = settings
    app.state.known_eval_set = pipeline.known
    app.state.evaluation_of = queued.of_run
    app.state.registered = pipeline.registered
    app.state.requests = monitor.Requests()
    app.router.route_class = http.StrictRoute
    # Added first, so it runs inside the request context: refused requests have ids and are counted.
    app.add_middleware(SecurityMiddleware, allowed_hosts=AllowedHosts(settings.allowed_hosts))
    http.install(app, app.state.requests.seen)
    for router in (monitor.router, traces, datasets, runs, evaluation, regression, registry):
        app.include_router(router)
    web.mount(app)
    return app


def from_environment() -> FastAPI:
    """The application by the environment's settings, for `uvicorn --factory`."""
    return create_app(Settings())
