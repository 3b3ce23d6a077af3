"""The database's versions: Alembic, driven from Python, the same way on SQLite and PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.pool import NullPool

from tunix_rt.base.db import DATABASE_DOWN, Base, Database, begin_sqlite, database_url, explain, prepare_sqlite
from tunix_rt.base.errors import Conflict, Unavailable
from tunix_rt.base.settings import Settings
from tunix_rt.datasets import models as _datasets  # noqa: F401  # their tables belong to Base.metadata
from tunix_rt.evaluation import models as _evaluation  # noqa: F401
from tunix_rt.jobs import models as _jobs  # noqa: F401
from tunix_rt.registry import models as _registry  # noqa: F401
from tunix_rt.regression import models as _regression  # noqa: F401
from tunix_rt.runs import models as _runs  # noqa: F401
from tunix_rt.traces import models as _traces  # noqa: F401

_BY_HAND = ("traces_fts", "ix_traces_fulltext")


def sync_engine(url: str) -> Engine:
    """A plain engine for the same database: migrations run one at a time and need no event loop."""
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed.set(drivername="sqlite"), poolclass=NullPool).execution_options(writes=True)
        event.listen(engine, "connect", prepare_sqlite)
        event.listen(engine, "connect", _let_go_of_foreign_keys)
        event.listen(engine, "begin", begin_sqlite)
        return engine
    return create_engine(parsed, poolclass=NullPool)


def _let_go_of_foreign_keys(dbapi_connection: Any, _record: Any) -> None:
    """SQLite alters a table by copying and dropping it, and dropping it would empty the tables that refer to it."""
    dbapi_connection.execute("PRAGMA foreign_keys=OFF")


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def head() -> str:
    """The version that this code needs."""
    found = ScriptDirectory(str(Path(__file__).parent)).get_current_head()
    assert found is not None, "the package ships its migrations"
    return found


def current(url: str) -> str | None:
    """The database's version; None when it is empty."""
    engine = sync_engine(url)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str, to: str = "head") -> None:
    """Bring the database up; two at once wait for each other."""
    _not_newer(url)
    command.upgrade(_config(url), to)


def downgrade(url: str, to: str) -> None:
    """Take the database back to version `to` (`base` empties it)."""
    _not_newer(url)
    command.downgrade(_config(url), to)


def _not_newer(url: str) -> None:
    found = current(url)
    known = {script.revision for script in ScriptDirectory(str(Path(__file__).parent)).walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(
            f"The database is at version {found}, which this release does not know (it needs {head()}).",
            hint="A newer Tunix RT has used it: install that release again, or set TUNIX_RT_HOME to another folder.",
        )


def drift(url: str) -> list[str]:
    """How the database differs from the models; empty when it does not."""
    engine = sync_engine(url)
    with engine.connect() as connection:
        # The full-text index is made by hand, since no model can describe it on both databases.
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, _kind, _parents: not str(name).startswith(_BY_HAND)}
        )
        return [str(change) for change in compare_metadata(context, Base.metadata)]


def tables(url: str) -> list[str]:
    """Names of the tables that exist."""
    return inspect(sync_engine(url)).get_table_names()


async def prepare(settings: Settings, database: Database) -> None:
    """Bring a database to this release's version where that can lose nothing: the embedded one, or one that is empty.

    Raises:
        Unavailable: a server's database that holds something is at another version; it is migrated on purpose only.
    """
    url = settings.sqlalchemy_url
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The folder {settings.home} cannot be made: {error.strerror}.", hint="Name another one by TUNIX_RT_HOME."
        ) from None
    try:
        found = await asyncio.to_thread(current, url)
        if found == head():
            return
        empty = found is None and not await asyncio.to_thread(tables, url)
        if not database.is_sqlite and not empty:
            what = f"at version {found}" if found else "none of ours, but holds tables"
            raise Unavailable(
                f"The database is {what}; this release needs {head()}.",
                hint="Is it the right one? Then make a backup and run: tunix-rt db upgrade",
            )
        await asyncio.to_thread(upgrade, url)
    except DATABASE_DOWN as error:
        raise explain(error) from error
