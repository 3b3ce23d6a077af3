"""How the system says how it is: readiness, figures for Prometheus, logs for machines; and answers that are shared."""

import asyncio
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from tests import make
from tests.make import Hand
from tunix_rt import monitor
from tunix_rt.app import create_app
from tunix_rt.base import log as logs
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.base.together import Together
from tunix_rt.jobs import workers
from tunix_rt.jobs.retry import End
from tunix_rt.runs.states import RunStatus

NAMES = {
    "tunix_runs": "counter",
    "tunix_runs_duration_seconds": "histogram",
    "tunix_queue_depth": "gauge",
    "tunix_queue_oldest_pending_seconds": "gauge",
    "tunix_queue_wait_seconds": "histogram",
    "tunix_db_write_seconds": "histogram",
    "tunix_worker_last_heartbeat_seconds": "gauge",
    "tunix_lease_expirations": "counter",
    "tunix_log_viewers": "gauge",
    "http_request_duration_seconds": "histogram",
}


async def figures(api: httpx.AsyncClient) -> dict[str, Any]:
    """Families of /metrics by name; each sample's value by its name and labels."""
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families: dict[str, Any], sample: str, **labels: str) -> float | None:
    for family in families.values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return float(one.value)
    return None


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, *(make.trace(number) for number in range(4)))
    await make.dataset(api)
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    return Hand(app.state.database, settings)


# --- readiness --------------------------------------------------------------------------------------------------


async def test_a_server_that_can_work_is_ready_and_says_whether_workers_live(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    answer = await api.get("/api/ready")
    assert answer.status_code == 200
    found = answer.json()
    assert found["status"] == "ready"
    assert {name: check["ok"] for name, check in found["checks"].items()} == {
        "database": True,
        "migrations": True,
        "disk": True,
        "workers": False,
    }
    async with hand.database.write() as session:
        await workers.register(session, "one", {})
    assert (await api.get("/api/ready")).json()["checks"]["workers"] == {"ok": True, "detail": "1 alive"}


async def test_a_database_of_another_version_is_not_ready(api: httpx.AsyncClient, hand: Hand) -> None:
    async with hand.database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    answer = await api.get("/api/ready")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unready"
    assert "0003" in answer.json()["checks"]["migrations"]["detail"]
    assert (await api.get("/api/health")).status_code == 200


async def test_a_disk_that_is_nearly_full_is_not_ready(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "FREE_BYTES", 2**62)
    answer = await api.get("/api/ready")
    assert (answer.status_code, answer.json()["checks"]["disk"]["ok"]) == (503, False)


async def test_a_database_that_is_gone_is_not_ready_and_the_server_lives(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path / "home", database_url=""))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        await app.state.database.close()
        for path in (tmp_path / "home").glob("tunix-rt.db*"):
            path.write_bytes(b"not a database " * 100)
        answer = await api.get("/api/ready")
        assert (answer.status_code, answer.json()["checks"]["database"]["ok"]) == (503, False)
        assert (await api.get("/api/health")).status_code == 200


# --- figures ----------------------------------------------------------------------------------------------------


async def test_every_figure_of_the_contract_is_there_with_its_type_and_no_id(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    run = await make.run(api)
    async with hand.database.write() as session:
        await workers.register(session, "one", {})
    await hand.ends(await hand.takes(), make.ended(End.DONE))
    families = await figures(api)
    assert NAMES.items() <= {name: family.type for name, family in families.items()}.items()
    assert run not in (await api.get("/metrics")).text
    assert value(families, "tunix_runs_total", status="completed", mode="local") == 1
    assert value(families, "tunix_runs_duration_seconds_count", status="completed", mode="local") == 1
    assert value(families, "tunix_queue_wait_seconds_count") == 1
    assert value(families, "tunix_worker_last_heartbeat_seconds", worker="one") is not None
    route = {"method": "POST", "route": "/api/tunix/run", "status": "202"}
    assert value(families, "http_request_duration_seconds_count", **route) == 1
    assert value(families, "http_request_duration_seconds_count", **route | {"route": "/nothing"}) is None


async def test_the_queue_is_counted_as_it_is(api: httpx.AsyncClient, hand: Hand) -> None:
    for _ in range(3):
        await make.run(api)
    job = await hand.takes()
    await make.clock_jumps(hand.database, 40)
    families = await figures(api)
    assert value(families, "tunix_queue_depth", status="pending") == 2
    assert value(families, "tunix_queue_depth", status="running") == 1
    oldest = value(families, "tunix_queue_oldest_pending_seconds")
    assert oldest is not None
    assert 40 <= oldest < 60
    await hand.ends(job, make.ended(End.REFUSED, RunStatus.TIMEOUT))
    assert value(await figures(api), "tunix_runs_total", status="timeout", mode="local") == 1


async def test_a_lease_that_ran_out_is_counted(api: httpx.AsyncClient, hand: Hand) -> None:
    await make.run(api)
    await hand.takes()
    assert value(await figures(api), "tunix_lease_expirations_total") == 0
    await make.clock_jumps(hand.database, hand.lease_seconds + 1)
    await hand.reaps()
    assert value(await figures(api), "tunix_lease_expirations_total") == 1


WRITER = """
import asyncio, sys
from tunix_rt.base.db import Database
from tunix_rt.jobs import workers
async def main():
    database = Database(sys.argv[1])
    for _ in range(7):
        async with database.write("elsewhere"):
            pass
    async with database.write() as session:
        await workers.add_durations(session, database.write_durations.take())
    await database.close()
asyncio.run(main())
"""


async def test_what_other_processes_wrote_is_seen_and_adds_up(
    api: httpx.AsyncClient, settings: Settings, hand: Hand
) -> None:
    command = [sys.executable, "-c", WRITER, settings.sqlalchemy_url]
    running = [await asyncio.create_subprocess_exec(*command) for _ in range(2)]
    assert [await process.wait() for process in running] == [0, 0]
    async with hand.database.write("elsewhere"):  # ours, which is not handed in yet
        pass
    families = await figures(api)
    assert value(families, "tunix_db_write_seconds_count", operation="elsewhere") == 15
    assert value(families, "tunix_db_write_seconds_bucket", operation="elsewhere", le="+Inf") == 15


# --- logs -------------------------------------------------------------------------------------------------------


def logged(formatter: logging.Formatter) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream


def test_a_json_log_has_a_document_a_line_with_what_the_work_is_about() -> None:
    logger, stream = logged(logs.JsonLines())
    with logs.bind(request_id="r1"), logs.bind(run="run1", job=7):
        logger.info("it was %s", "claimed", extra={"waited_seconds": 0.5, "path": Path("/x")})
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("it failed")
    logger.info("after")
    first, second, third = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "test",
        "message": "it was claimed",
        "request_id": "r1",
        "run": "run1",
        "job": 7,
        "waited_seconds": 0.5,
        "path": "/x",
    }
    assert first["time"].endswith("Z")
    assert "ValueError: two\nlines" in second["exception"]
    assert "run" not in third


def test_a_text_log_keeps_a_hostile_value_on_its_line() -> None:
    logger, stream = logged(logs.TextLines())
    logger.warning("a name came", extra={"given": "x\n2026 info all is well\x1b[2J"})
    [line] = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert 'given="x\\n2026' in line


async def test_a_failed_request_is_logged_under_the_id_that_it_was_answered_with(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)

    @app.get("/api/boom")
    async def boom() -> None:
        raise RuntimeError("secret")

    found: list[Any] = []

    def seen(record: logging.LogRecord) -> bool:
        found.append(logs.fields_of(record))
        return True

    caplog.handler.addFilter(seen)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        answer = await api.get("/api/boom")
    assert answer.status_code == 500
    assert answer.json()["request_id"] in [fields.get("request_id") for fields in found]


# --- sharing an answer ------------------------------------------------------------------------------------------


async def test_an_answer_is_never_older_than_its_question() -> None:
    together: Together[int] = Together()
    truth, sought = 0, 0

    async def find() -> int:
        nonlocal sought
        sought += 1
        seen = truth
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    async def ask(known: int) -> None:
        assert await together.ask("q", find) >= known

    asked = []
    for step in range(200):
        truth += step % 3 == 0
        asked.append(asyncio.create_task(ask(truth)))
        if step % 2:
            await asyncio.sleep(0)
    await asyncio.gather(*asked)
    assert sought < 120  # and they were shared


async def test_those_who_ask_at_once_share_one_answer_and_one_error() -> None:
    together: Together[int] = Together()
    sought = 0

    async def find() -> int:
        nonlocal sought
        sought += 1
        raise ValueError("no")

    ends = await asyncio.gather(*(together.ask("q", find) for _ in range(50)), return_exceptions=True)
    assert (sought, {type(end) for end in ends}) == (1, {ValueError})
    other = asyncio.gather(together.ask("a", find), together.ask("b", find), return_exceptions=True)
    await other
    assert sought == 3


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    together: Together[int] = Together()
    go = asyncio.Event()

    async def find() -> int:
        await go.wait()
        return 5

    first, second = (asyncio.create_task(together.ask("q", find)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    go.set()
    assert await second == 5


async def test_durations_that_could_not_be_stored_are_kept(database_url: str) -> None:
    database = Database(database_url)
    async with database.write("op"):
        pass
    taken = database.write_durations.take()
    assert not database.write_durations.found
    database.write_durations.give_back(taken)
    assert sum(database.write_durations.found["op"].counts) == 1
    await database.close()
