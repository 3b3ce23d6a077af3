"""What tests share: a fresh database of each kind, the application on it, and its client."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest

from tests.postgres import Postgres
from tunix_rt import migrations
from tunix_rt.app import create_app
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings

# How long examples take says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

# Trainings by JAX here are small, and so are their programs: all of them are kept for the next process.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# In models this small a second thread of PyTorch's only spins, and takes the core from another test.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control ignores SIGINT in what it starts in the background, and children inherit that: a test that
# interrupts a child would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("TUNIX_RT_URL", None)
os.environ.pop("TUNIX_RT_DATABASE_URL", None)

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k" / "train.jsonl"


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that are marked as long."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with a migrated template database."""
    server = Postgres()
    try:
        server.start()
        admin(server, "CREATE DATABASE template")
        migrations.upgrade(server.url("template"))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


def admin(server: Postgres, statement: str) -> None:
    """Run a statement on the server itself, outside a transaction."""
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database: every test that asks for one runs on both kinds."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path / "tunix-rt.db"
        path.write_bytes(template.read_bytes())
        yield f"sqlite+aiosqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{os.urandom(6).hex()}"
    admin(server, f"CREATE DATABASE {name} TEMPLATE template")
    yield server.url(name)
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings on a fresh database and home."""
    return Settings(home=tmp_path / "home", database_url=database_url)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A process's connections to the fresh database; the application has its own."""
    found = Database(settings.sqlalchemy_url)
    yield found
    await found.close()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application, in process."""
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost"
        ) as client,
    ):
        yield client


@pytest.fixture
def gsm8k() -> Path:
    """The GSM8K training split, where it is present."""
    if not GSM8K.exists():
        pytest.skip(f"no {GSM8K.name}: the real data set is not on this machine")
    return GSM8K
