"""The live view of a run, by its facts: viewers that read slowly or never, leave, come in crowds or too late."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.runs.viewer import MANNERS, Manner, Viewer, eventually, said, serving
from tests.runs.writer import Scribe, played
from tunix_rt.base.settings import Settings
from tunix_rt.runs import logs, tail
from tunix_rt.runs.states import RunStatus


def running(app: FastAPI) -> Any:
    return played(Scribe(app.state.database), app.state.settings.home)


async def test_a_viewer_that_never_reads_slows_nobody_and_misses_nothing(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "KEPT_BYTES", 5_000)
    run = await running(app)
    released = asyncio.Event()

    async def never() -> None:
        await released.wait()

    asleep = [Viewer(app, run.path, pace=never) for _ in range(5)]
    awake = Viewer(app, run.path)
    for number in range(60):
        await run.say(b"line %d of many\n" % number)
        await awake.until(lambda: said(awake) == run.written("stdout"))
    await run.move(RunStatus.COMPLETED)
    await awake.ended()
    assert awake.events[-1].name == "end"
    assert not any(viewer.body for viewer in asleep)
    released.set()
    for viewer in asleep:
        await viewer.ended()
        assert said(viewer) == run.written("stdout")
        assert [event.name for event in viewer.events if event.name != "log"] == ["status", "status", "end"]


async def test_200_viewers_hold_no_connection_and_all_are_served(app: FastAPI) -> None:
    runs = [await running(app) for _ in range(4)]
    viewers = [(run, Viewer(app, run.path)) for run in runs for _ in range(50)]
    for _, viewer in viewers:
        await viewer.until(lambda viewer=viewer: len(viewer.events) == 1)  # type: ignore[misc]  # bound early
    pool = app.state.database.engine.pool
    await eventually(lambda: pool.checkedout() == 0)
    assert app.state.hub.viewers == 200
    lists = [Viewer(app, "/api/tunix/runs") for _ in range(50)]
    for asked in lists:
        await asked.ended()
        assert asked.status == 200
    for number, run in enumerate(runs):
        await run.say(b"for %d" % number)
        await run.move(RunStatus.COMPLETED)
    for run, viewer in viewers:
        await viewer.ended()
        assert said(viewer) == run.written("stdout")
        assert viewer.events[-1].name == "end"
    assert app.state.hub.viewers == 0


async def test_a_comment_comes_while_there_is_no_news(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "HEARTBEAT_SECONDS", 0.02)
    run = await running(app)
    await run.say(b"one")
    viewer = Viewer(app, run.path)
    await viewer.until(lambda: viewer.body.count(b"\n: still here\n\n") >= 3)
    await run.say(b"two")
    await run.move(RunStatus.COMPLETED)
    await viewer.ended()
    assert [event.name for event in viewer.events] == ["status", "log", "log", "status", "end"]
    assert said(viewer) == b"onetwo"


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED])
async def test_the_end_comes_to_who_came_before_it_and_to_who_came_after(app: FastAPI, status: RunStatus) -> None:
    run = await running(app)
    before = Viewer(app, run.path)
    await before.until(lambda: len(before.events) == 1)
    run.write(b"last words, torn \xe2\x82")
    if status is RunStatus.CANCELLED:
        await run.move(RunStatus.CANCEL_REQUESTED)
    await run.move(status)
    after, late = Viewer(app, run.path), Viewer(app, run.path, last_event_id="1")
    for viewer in (before, after, late):
        await viewer.ended()
        assert viewer.whole
        last = viewer.events[-1]
        assert (last.name, last.data["status"], last.data["last_seq"]) == ("end", status, 1)
    assert said(before) == said(after) == run.written("stdout")
    assert [event.name for event in late.events] == ["status", "end"]


async def test_a_run_cancelled_before_it_ran_ends_its_stream(app: FastAPI) -> None:
    run = await played(Scribe(app.state.database), app.state.settings.home, running=False)
    viewer = Viewer(app, run.path)
    await viewer.until(lambda: len(viewer.events) == 1)
    await run.move(RunStatus.CANCELLED)
    await viewer.ended()
    assert [event.name for event in viewer.events] == ["status", "status", "end"]


async def test_closing_the_hub_ends_every_stream_without_an_end(app: FastAPI) -> None:
    run = await running(app)
    await run.say(b"so far")
    viewers = [Viewer(app, run.path) for _ in range(20)]
    for viewer in viewers:
        await viewer.until(lambda viewer=viewer: said(viewer) == b"so far")  # type: ignore[misc]  # bound early
    app.state.hub.close()
    late = Viewer(app, run.path)
    for viewer in [*viewers, late]:
        await viewer.ended()
        assert viewer.whole
        assert "end" not in {event.name for event in viewer.events}


async def test_a_viewer_that_is_far_behind_does_not_hold_up_the_closing(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PIECE_BYTES", 100)
    run = await running(app)
    await run.say(b"x" * 100_000)
    count = 0

    async def closing() -> None:
        nonlocal count
        count += 1
        if count == 5:
            app.state.hub.close()

    viewer = Viewer(app, run.path, pace=closing)
    await viewer.ended()
    assert viewer.whole
    assert count < 10


async def test_a_stream_is_resumed_across_a_restart_of_the_server(settings: Settings) -> None:
    async with serving(settings) as app:
        run = await running(app)
        await run.say("grüße ".encode())
        first = Viewer(app, run.path)
        await first.until(lambda: bool(said(first)))
    await first.ended()
    run.write(b"nobody ")
    async with serving(settings) as app:
        run.scribe = Scribe(app.state.database)
        await run.say(b"watched ")
        second = Viewer(app, run.path, last_event_id=first.events[-1].id)
        await second.until(lambda: said(second).endswith(b"watched "))
        await run.say(b"this")
        await run.move(RunStatus.COMPLETED)
        await second.ended()
    assert said(first) + said(second) == run.written("stdout") == "grüße nobody watched this".encode()


async def test_without_following_a_stream_ends_after_what_there_is(app: FastAPI) -> None:
    run = await running(app)
    await run.say(b"one ")
    await run.say(b"two ", "stderr")
    viewer = Viewer(app, run.path, "follow=false")
    await viewer.ended()
    assert [event.name for event in viewer.events] == ["status", "log", "log"]
    await run.say(b"three")
    viewer = Viewer(app, run.path, "follow=false&since_seq=2")
    await viewer.ended()
    assert said(viewer) == b"three"
    await run.move(RunStatus.COMPLETED)
    viewer = Viewer(app, run.path, "follow=false")
    await viewer.ended()
    assert said(viewer) == b"one three"
    assert viewer.events[-1].name == "end"


async def test_without_following_nothing_is_missed_that_the_reader_has_not_seen_yet(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await running(app)
    other = Viewer(app, run.path)
    await run.say(b"seen, ")
    await other.until(lambda: said(other) == b"seen, ")
    look, released = app.state.hub._look, asyncio.Event()

    async def held() -> None:
        await released.wait()
        await look()

    monkeypatch.setattr(app.state.hub, "_look", held)
    await run.say(b"stored already")
    viewer = Viewer(app, run.path, "follow=false")
    await viewer.until(lambda: len(viewer.events) >= 1)
    released.set()
    await viewer.ended()
    assert said(viewer) == b"seen, stored already"


@pytest.mark.parametrize(
    ("query", "last_event_id"),
    [
        *[("", text) for text in ("abc", "-1", "1.0", "٣", " 1", "99999999999999999999", "1" * 40)],
        *[(f"since_seq={text}", None) for text in ("-1", "abc", "9223372036854775808")],
        ("follow=maybe", None),
        ("from=3", None),
    ],
)
async def test_a_place_that_is_none_is_refused(app: FastAPI, query: str, last_event_id: str | None) -> None:
    run = await running(app)
    try:
        viewer = Viewer(app, run.path, query, last_event_id)
    except UnicodeEncodeError:
        viewer = Viewer(app, run.path, query, "\xb3")  # a digit to some, in what a header can hold
    await viewer.ended()
    assert (viewer.status, viewer.headers["content-type"]) == (422, "application/problem+json")


async def test_a_place_beyond_the_end_waits_for_what_comes_after_it(app: FastAPI) -> None:
    run = await running(app)
    viewer = Viewer(app, run.path, last_event_id="2")
    for text in (b"a", b"b", b"c"):
        await run.say(text)
    await run.move(RunStatus.COMPLETED)
    await viewer.ended()
    assert said(viewer) == b"c"


@pytest.mark.parametrize(("id", "status"), [("0" * 32, 404), ("01890000-0000-7000-8000-000000000000", 404), ("x", 422)])
async def test_an_unknown_run_is_refused_before_the_stream_begins(app: FastAPI, id: str, status: int) -> None:
    viewer = Viewer(app, f"/api/tunix/runs/{id}/logs")
    await viewer.ended()
    assert (viewer.status, viewer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("manner", MANNERS)
async def test_a_viewer_that_leaves_is_not_counted_any_more(app: FastAPI, manner: Manner) -> None:
    run = await running(app)
    stuck = asyncio.Event()

    async def never() -> None:
        await stuck.wait()

    gc.disable()  # what only the collector would close is a leak
    try:
        waiting = [Viewer(app, run.path, manner=manner) for _ in range(5)]
        cut = [Viewer(app, run.path, manner=manner, cut_after=40) for _ in range(5)]
        for viewer in waiting:
            await viewer.until(lambda viewer=viewer: len(viewer.events) == 1)  # type: ignore[misc]  # bound early
        for viewer in cut:
            await viewer.ended()
        assert app.state.hub.viewers == 5
        blocked = [Viewer(app, run.path, manner=manner, pace=never) for _ in range(5)]
        await eventually(lambda: app.state.hub.viewers == 10)
        for viewer in [*waiting, *blocked]:
            viewer.leave()
        stuck.set()
        await run.say(b"said to nobody")  # an error of send comes with the next word
        for viewer in [*waiting, *blocked]:
            await viewer.ended()
        assert app.state.hub.viewers == 0
    finally:
        gc.enable()


async def test_a_log_that_cannot_be_read_silences_no_other_run(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = await running(app), await running(app)
    read = logs.read

    def broken(folder: Path, *place: Any) -> bytes:
        if folder == bad.folder:
            raise PermissionError(13, "Permission denied")
        return read(folder, *place)

    monkeypatch.setattr(logs, "read", broken)
    viewers = [Viewer(app, run.path) for run in (bad, good)]
    for viewer in viewers:
        await viewer.until(lambda viewer=viewer: len(viewer.events) == 1)  # type: ignore[misc]  # bound early
    await bad.say(b"hidden")
    await good.say(b"shown")
    await viewers[1].until(lambda: said(viewers[1]) == b"shown")
    monkeypatch.setattr(logs, "read", read)
    await viewers[0].until(lambda: said(viewers[0]) == b"hidden")
    for viewer in viewers:
        viewer.leave()
        await viewer.ended()


async def test_the_stream_says_that_it_must_not_be_kept_or_buffered(app: FastAPI) -> None:
    run = await running(app)
    await run.move(RunStatus.COMPLETED)
    viewer = Viewer(app, run.path)
    await viewer.ended()
    assert viewer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert viewer.headers["cache-control"] == "no-cache"
    assert viewer.headers["x-accel-buffering"] == "no"
