"""The HTTP application: the one place that knows every router."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from tunix_rt import __version__, migrations
from tunix_rt.base import http
from tunix_rt.base.db import DATABASE_DOWN, Database, explain
from tunix_rt.base.errors import Unavailable
from tunix_rt.base.settings import Settings
from tunix_rt.datasets.routes import router as datasets
from tunix_rt.evaluation.routes import router as evaluation
from tunix_rt.traces.routes import router as traces


class Health(BaseModel):
    """Liveness: the process answers."""

    status: str
    version: str


async def _prepare(settings: Settings, database: Database) -> None:
    """Bring the embedded database up to date; a PostgreSQL server's is migrated on purpose only."""
    url = settings.sqlalchemy_url
    if database.is_sqlite:
        settings.home.mkdir(parents=True, exist_ok=True)
    try:
        found = await asyncio.to_thread(migrations.current, url)
        if found == migrations.head():
            return
        if not database.is_sqlite:
            raise Unavailable(
                f"The database is at version {found or 'none'}; this release needs {migrations.head()}.",
                hint="Run: tunix-rt db upgrade",
            )
        await asyncio.to_thread(migrations.upgrade, url)
    except DATABASE_DOWN as error:
        raise explain(error) from error


def create_app(settings: Settings) -> FastAPI:
    """Build the application.

    Args:
        settings: read once, passed down; nothing else is read from the environment.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = database = Database(settings.sqlalchemy_url)
        try:
            await _prepare(settings, database)
            yield
        finally:
            await database.close()

    app = FastAPI(title="Tunix RT", version=__version__, lifespan=life)
    app.state.settings = settings
    app.router.route_class = http.StrictRoute
    http.install(app)

    @app.get("/api/health")
    async def health() -> Health:
        return Health(status="healthy", version=__version__)

    for router in (traces, datasets, evaluation):
        app.include_router(router)
    return app


def from_environment() -> FastAPI:
    """The application by the environment's settings, for `uvicorn --factory`."""
    return create_app(Settings())
