"""The feed of all runs: each change of a state is told, and the progress of those that run, to all who watch."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from tests.evaluation.make import answers, jsonl, questions
from tests.make import dataset, stored, trace
from tests.runs.writer import Scribe, played
from tunix_rt import pipeline
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.runs.feed import Feed, together
from tunix_rt.runs.states import RunStatus


@asynccontextmanager
async def fed(database: Database) -> AsyncIterator[Feed]:
    """A feed that reads, as the application's."""
    feed = Feed(database, pipeline.NEWEST)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def watch(feed: Feed) -> AsyncGenerator[bytes, None]:
    """A viewer who is there: what happens from now on is told to him."""
    stream = feed.stream()
    assert b"welcome" in await anext(stream)
    return stream


async def told(stream: AsyncGenerator[bytes, None], run: str, **wanted: Any) -> dict[str, Any]:
    """The next row of a run that has such values."""
    async with asyncio.timeout(240):
        async for event in stream:
            if not event.startswith(b"event: run\n"):
                continue
            row: dict[str, Any] = json.loads(event.partition(b"data: ")[2])
            if row["run_id"] == run and all(row[name] == value for name, value in wanted.items()):
                return row
    raise AssertionError("the stream ended")


async def changed(stream: AsyncGenerator[bytes, None]) -> list[str]:
    """What there is more of, as it is told next."""
    async with asyncio.timeout(240):
        while not (event := await anext(stream)).startswith(b"event: changed\n"):
            pass
    names: list[str] = json.loads(event.partition(b"data: ")[2])
    return names


async def test_a_viewer_is_told_of_each_state_and_of_progress(settings: Settings, database: Database) -> None:
    run = await played(Scribe(database), settings.home, running=False)
    runs = await played(Scribe(database), settings.home)
    async with fed(database) as feed:
        stream = await watch(feed)
        await told(stream, runs.id)  # the first look: what was before is not told
        await run.move(RunStatus.RUNNING)
        await told(stream, run.id, status="running", progress=None)
        lines = [{"event": "plan", "steps": 4}, {"event": "step", "step": 3, "loss": 0.5, "step_seconds": 2.0}]
        (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        await run.index()
        row = await told(stream, run.id, progress={"step": 3, "total_steps": 4, "eta_seconds": 2.0})
        assert row["metrics"]["loss"] == 0.5
        await run.move(RunStatus.COMPLETED)
        await told(stream, run.id, status="completed")
        await stream.aclose()


async def test_who_comes_is_told_what_runs_and_nothing_of_what_is_over(settings: Settings, database: Database) -> None:
    scribe = Scribe(database)
    over, runs = await played(scribe, settings.home), await played(scribe, settings.home)
    await over.move(RunStatus.FAILED)
    async with fed(database) as feed:
        first, second = await watch(feed), await watch(feed)
        assert await told(first, runs.id) == await told(second, runs.id)
        assert feed.viewers == 2
        await first.aclose()
        assert feed.viewers == 1
        await second.aclose()


async def test_viewers_are_told_what_there_is_more_of_whoever_made_it(
    api: httpx.AsyncClient, settings: Settings, database: Database
) -> None:
    await stored(api, trace(1))
    runs = await played(Scribe(database), settings.home)
    async with fed(database) as feed:  # which makes none of it
        stream = await watch(feed)
        await told(stream, runs.id)  # the first look: what was before is not told
        await stored(api, trace(2))
        assert await changed(stream) == ["traces"]
        await dataset(api)
        assert await changed(stream) == ["datasets"]
        made = await api.post("/api/eval-sets", params={"name": "sums"}, content=jsonl(questions()))
        query = {"name": "first", "eval_set": made.json()["name"]}
        assert (await api.post("/api/evaluations", params=query, content=jsonl(answers()))).status_code == 201
        assert await changed(stream) == ["evaluations"]
        await stream.aclose()


async def test_a_feed_that_closes_ends_its_streams(database: Database) -> None:
    async with fed(database) as feed:
        stream = await watch(feed)
        feed.close()
        assert [event async for event in stream] == []


async def test_streams_together_end_with_the_first_and_close_the_others() -> None:
    closed: list[str] = []

    async def counting(name: str, last: int, pause: float) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(last):
                await asyncio.sleep(pause)
                yield f"{name}{number}".encode()
        finally:
            closed.append(name)

    found = [event async for event in together(counting("a", 3, 0.02), counting("b", 1, 0.0), counting("c", 99, 0.03))]
    assert [event for event in found if event.startswith(b"a")] == [b"a0", b"a1", b"a2"]
    assert b"b0" in found
    assert sorted(closed) == ["a", "b", "c"]


async def test_a_run_that_is_not_there_is_not_followed(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/events?run=019ab3f2-0000-7000-8000-000000000000")
    assert answer.status_code == 404


async def test_the_form_of_a_config_knows_every_key(api: httpx.AsyncClient) -> None:
    schema = (await api.get("/api/tunix/config-schema")).json()
    assert {"engine", "steps", "lora", "data"} <= schema["properties"].keys()
    assert all("description" in each or "$ref" in each for each in schema["properties"].values())
