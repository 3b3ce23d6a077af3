"""The house: health, errors of one shape, migrations, what importing loads."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import admin
from tests.postgres import Postgres
from tunix_rt import migrations
from tunix_rt.app import create_app
from tunix_rt.base.errors import Conflict, Unavailable
from tunix_rt.base.settings import Settings

HEAVY = {"jax", "flax", "optax", "orbax", "tunix", "torch", "transformers", "ray", "safetensors"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    show = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import tunix_rt") & (HEAVY | {"sqlalchemy", "fastapi", "pydantic", "numpy"})


def test_importing_the_application_loads_no_engine() -> None:
    assert not loaded_by("import tunix_rt.app") & HEAVY


def test_help_loads_nothing_heavy() -> None:
    code = "import contextlib, sys; sys.argv = ['tunix-rt', '--help']; import tunix_rt.cli.main as m\n"
    code += "with contextlib.suppress(SystemExit): m.main()\nimport os"
    found = loaded_by(code)
    assert "click" in found
    assert not found & (HEAVY | {"sqlalchemy", "fastapi", "pydantic", "numpy", "rich", "httpx"})


async def test_health_answers(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"


async def test_the_api_describes_itself(api: httpx.AsyncClient) -> None:
    answer = await api.get("/openapi.json")
    assert answer.status_code == 200
    found = answer.json()
    assert found["openapi"].startswith("3.1")
    assert {"/api/traces", "/api/tunix/run", "/api/tunix/runs/{id}/logs", "/metrics"} <= found["paths"].keys()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/api/health", 405),
        ("GET", "/api/health?verbose=1", 422),
        ("GET", "/api/datasets?limit=0", 422),
        ("GET", "/api/datasets?limit=201", 422),
        ("GET", "/api/datasets?limit=many", 422),
        ("GET", "/api/datasets?cursor=nonsense", 422),
        ("GET", "/api/datasets/none-v1", 404),
    ],
)
async def test_every_error_has_one_shape(api: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    assert body["status"] == status
    assert answer.headers["x-request-id"] == body["request_id"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000b"}',
        b'{"seed": 99999999999999999999}',
        b'{"name": "a", "name": "b"}',
        b'{"name": "\xff"}',
        b'{"name": "a"',
        b"",
        b"[" * 100_000,
    ],
)
async def test_no_body_makes_the_server_fail(api: httpx.AsyncClient, body: bytes) -> None:
    answer = await api.post("/api/datasets/build", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_413_however_it_is_sent(api: httpx.AsyncClient) -> None:
    async def chunks(size: int):  # type: ignore[no-untyped-def]  # a generator of bytes
        for _ in range(size // 65536):
            yield b" " * 65536

    for content in (b" " * (2**20 + 1), chunks(2**21)):
        answer = await api.post("/api/datasets/build", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "TUNIX_RT_BODY_LIMIT_BYTES" in answer.json()["hint"]


async def test_a_bug_of_ours_says_nothing_of_the_inside(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/api/boom")
    async def boom() -> None:
        raise RuntimeError("secret")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        answer = await client.get("/api/boom")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_migrations_go_up_down_and_up_again(database_url: str) -> None:
    assert migrations.current(database_url) == migrations.head()
    assert migrations.drift(database_url) == []
    migrations.downgrade(database_url, "base")
    assert set(migrations.tables(database_url)) <= {"alembic_version"}
    migrations.upgrade(database_url)
    assert migrations.drift(database_url) == []


def test_a_database_of_a_newer_release_is_left_alone(database_url: str) -> None:
    engine = migrations.sync_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="9999"):
        migrations.upgrade(database_url)


async def test_a_new_home_and_an_empty_server_get_their_database_and_a_strangers_does_not(
    tmp_path: Path, postgres: Postgres
) -> None:
    app = create_app(Settings(home=tmp_path / "new", database_url=""))
    async with app.router.lifespan_context(app):
        assert (tmp_path / "new" / "tunix-rt.db").exists()
    for name in ("empty", "strangers", "older"):
        admin(postgres, f"CREATE DATABASE {name}_house")
    app = create_app(Settings(home=tmp_path, database_url=postgres.url("empty_house")))
    async with app.router.lifespan_context(app):
        assert migrations.current(postgres.url("empty_house")) == migrations.head()
    with migrations.sync_engine(postgres.url("strangers_house")).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (number int)")
    migrations.upgrade(postgres.url("older_house"), "0003")
    for name in ("strangers", "older"):
        app = create_app(Settings(home=tmp_path, database_url=postgres.url(f"{name}_house")))
        with pytest.raises(Unavailable) as caught:
            async with app.router.lifespan_context(app):
                pass
        assert "tunix-rt db upgrade" in (caught.value.hint or "")
    assert migrations.tables(postgres.url("strangers_house")) == ["theirs"]
    assert migrations.current(postgres.url("older_house")) == "0003"


async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tunix-rt.db"
    path.write_bytes(b"not a database " * 100)
    app = create_app(Settings(home=tmp_path, database_url=""))
    with pytest.raises(Unavailable, match="damaged or is not"):
        async with app.router.lifespan_context(app):
            pass
    assert path.read_bytes() == b"not a database " * 100


def test_two_processes_make_one_new_database(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tunix_rt.cli.main", "traces", "list", "--json"]
    environment = {"TUNIX_RT_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ends = [(*process.communicate(), process.returncode) for process in running]
    assert [code for _, _, code in ends] == [0] * 4, ends
