"""One database, SQLite or PostgreSQL: sessions that read, sessions that write, and time in UTC both ways."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from select import POLLIN, poll
from typing import Any

import orjson
import uuid_utils.compat
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Interval,
    MetaData,
    bindparam,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from tunix_rt.base import extras
from tunix_rt.base.durations import Durations
from tunix_rt.base.errors import BadInput, DiskFull, Problem, Unavailable, cut
from tunix_rt.base.sqlite_threads import SqliteThreads

Json = JSON().with_variant(JSONB(), "postgresql")
RowNumber = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by INTEGER PRIMARY KEY only


_DRIVERS = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+psycopg")

PING_AFTER_SECONDS = 1.0
"""A pooled connection that rested for longer is tried before it is used."""


class Utc(TypeDecorator[datetime]):
    """Aware UTC in and out on both databases; SQLite keeps no zone, so it is taken off and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def new_id() -> uuid.UUID:
    """A UUIDv7: unique everywhere, and in order of creation within a process."""
    return uuid_utils.compat.uuid7()


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def is_sqlite(session: AsyncSession) -> bool:
    """Whether this session speaks to SQLite."""
    return session.get_bind().dialect.name == "sqlite"


def moment(session: AsyncSession, seconds: float = 0.0) -> ColumnElement[datetime]:
    """The present plus `seconds` by the database's clock, the one clock that all machines share."""
    if is_sqlite(session):
        return literal(now() + timedelta(seconds=seconds), Utc)
    return func.statement_timestamp(type_=Utc) + literal(timedelta(seconds=seconds), Interval)


class _FromNow(TypeDecorator[datetime]):
    """A span of time that is bound as the moment so long from now, by our clock."""

    impl = Utc
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else now() + value


def later(sqlite: bool, name: str) -> ColumnElement[datetime]:
    """As `moment`, for a statement that is built once: what is added is the timedelta bound as `name`."""
    if sqlite:
        return bindparam(name, type_=_FromNow())
    return func.statement_timestamp(type_=Utc) + bindparam(name, type_=Interval)


async def present(session: AsyncSession) -> datetime:
    """The present by the database's clock."""
    if is_sqlite(session):
        return now()
    found: datetime = (await session.execute(select(moment(session)))).scalar_one()
    return found


def prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    """Set up a new SQLite connection: transactions are begun by us, writers queue, nothing acknowledged is lost."""
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_sqlite(connection: Connection) -> None:
    """Begin a SQLite transaction; a writer takes its lock at once, so that it can never lose a race later."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _note_return(_dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _ping_if_doubtful(dialect: Dialect) -> Callable[[Any, ConnectionPoolEntry, Any], None]:
    """Find out that a server was restarted before a session does; a ping each time is a third of a short session."""

    def ping(dbapi_connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        returned = record.info.get("returned")
        if returned is None:
            return
        try:
            if time.monotonic() - returned > PING_AFTER_SECONDS or _has_word(dbapi_connection.driver_connection):
                dialect.do_ping(dbapi_connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool connects anew

    return ping


def _has_word(connection: Any) -> bool:
    """Whether the server said something unasked, which mostly is that it has closed the connection."""
    looking = poll()
    looking.register(connection.fileno(), POLLIN)
    return bool(looking.poll(0))


def explain(error: DBAPIError) -> Problem:
    """Say in our words what a database's own error means.

    Returns:
        A problem that names the kind of failure; never the statement or its parameters.
    """
    text = str(error.orig).lower()
    if "disk is full" in text or "no space left" in text or "disk full" in text:
        return DiskFull(
            "The database's disk is full; the write that failed was undone, and what was stored before is whole.",
            hint=f"Free space on {_disk(error)} (see `df -h`), then try again.",
        )
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_IOERR_WRITE":  # SQLite calls no other errno a full disk
        return DiskFull(
            "The database's file cannot grow: a quota or a limit on the size of files is reached, or its disk is "
            "damaged. The write that failed was undone, and what was stored before is whole.",
            hint=f"Make room on {_disk(error)} (see `quota -s`, `ulimit -f`, `dmesg`), then try again.",
        )
    if "readonly database" in text or "read-only" in text:
        return Unavailable("The database is read-only.", hint="Check the permissions of the folder TUNIX_RT_HOME.")
    if "malformed" in text or "not a database" in text:
        return Unavailable(
            "The database file is damaged or is not a SQLite database.",
            hint="Restore it from a backup, or name another folder by TUNIX_RT_HOME.",
        )
    if "locked" in text:
        return Unavailable("The database was busy for over 30 seconds.", hint="Try again; is a long import running?")
    if isinstance(error, OperationalError | InterfaceError):
        return Unavailable(
            "The database does not answer.", hint="Check TUNIX_RT_DATABASE_URL and that the database server runs."
        )
    return Problem("The database refused a statement: a bug of ours. The write was undone.", hint="See the log.")


def _disk(error: DBAPIError) -> str:
    is_file = isinstance(error.orig, sqlite3.Error)
    return "the disk that holds TUNIX_RT_HOME" if is_file else "the disk of the PostgreSQL server"


def database_url(text: str) -> URL:
    """Read a database's URL, and check that it is one of ours and that its driver is installed.

    Raises:
        BadInput: not a URL, or that of another kind of database.
        MissingExtra: PostgreSQL's driver is not installed.
    """
    hint = "Write it as postgresql://user:password@host:5432/name or sqlite:////absolute/path.db."
    try:
        url = make_url(text)
    except ArgumentError:
        raise BadInput("TUNIX_RT_DATABASE_URL is not a database URL.", hint=hint) from None
    if url.drivername not in _DRIVERS:
        raise BadInput(f"TUNIX_RT_DATABASE_URL: {cut(url.drivername, 60)!r} is not supported.", hint=hint)
    if url.get_backend_name() == "postgresql":
        extras.require("postgres", "A PostgreSQL database")
    return url


class Database:
    """A connection pool with two doors: `read` and `write`.

    Args:
        url: SQLAlchemy URL with an asynchronous driver.
        idle_seconds: PostgreSQL ends a transaction that waits this long for its client, so that the locks of a machine
            that is lost do not outlive it; None: never.
    """

    def __init__(self, url: str, idle_seconds: float | None = None) -> None:
        self._threads = SqliteThreads()
        parsed = database_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if idle_seconds is not None and parsed.get_backend_name() == "postgresql":
            timeout = f"-c idle_in_transaction_session_timeout={round(idle_seconds * 1000)}"
            parsed = parsed.update_query_dict({"options": timeout})
        self.engine = create_async_engine(
            parsed,
            connect_args={"async_creator_fn": self._threads.connect} if self.is_sqlite else {},
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        self.write_durations = Durations()
        self._writing = self.engine.execution_options(writes=True)
        self._write_lock = asyncio.Lock()
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", begin_sqlite)
        else:
            event.listen(self.engine.sync_engine, "checkin", _note_return)
            event.listen(self.engine.sync_engine, "checkout", _ping_if_doubtful(self.engine.dialect))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that changes nothing; it sees one state of the database throughout."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self, operation: str = "request") -> AsyncIterator[AsyncSession]:
        """A session that commits once, when the block ends, and stores nothing if the block raises.

        Args:
            operation: under which name the transaction's duration is counted.
        """
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            if self.is_sqlite:  # writers queue here rather than in SQLite, which lets them starve
                await stack.enter_async_context(self._write_lock)
            session = await stack.enter_async_context(AsyncSession(self._writing, expire_on_commit=False))
            yield session
            await session.commit()
        self.write_durations.add(operation, time.perf_counter() - started)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self._threads.join()


DATABASE_DOWN = (DatabaseError, InterfaceError)
