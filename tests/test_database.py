"""Closing a database ends the threads of its connections, also of those whose opening was cancelled."""

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from tunix_rt.app import create_app
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings


async def cancelled(url: str, turns: int) -> None:
    """Cancel a session after so many turns of the loop: before, while and after it connects."""
    database = Database(url)

    async def use() -> None:
        async with database.write() as session:
            await session.execute(text("SELECT 1"))

    using = asyncio.create_task(use())
    for _ in range(turns):
        await asyncio.sleep(0)
    using.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await using
    await database.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL's driver has no threads
def test_a_cancelled_session_leaves_no_thread_behind(database_url: str) -> None:
    before = set(threading.enumerate())
    for turns in range(60):
        asyncio.run(cancelled(database_url, turns))
        assert set(threading.enumerate()) - before == set(), f"after {turns} turns"


async def live(settings: Settings, turns: int) -> None:
    """An application that ends after so many turns of the loop."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        for _ in range(turns):
            await asyncio.sleep(0)


def test_an_application_that_ends_at_once_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for turns in range(30):
        asyncio.run(live(Settings(home=tmp_path / "home", database_url=""), turns))
        assert set(threading.enumerate()) - before == set(), f"after {turns} turns"
