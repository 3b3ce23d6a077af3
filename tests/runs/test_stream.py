"""The live view of a run under attack: viewers that break off at any byte, read slowly or never, or come in crowds."""

import asyncio
import base64
import gc
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.runs.viewer import PATIENCE_SECONDS, Event, Manner, Viewer
from tests.runs.writer import Played, Scribe, played
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.runs import logs, tail
from tunix_rt.runs.states import RunStatus
from tunix_rt.runs.tail import Hub

SEEDS = 250
"""Schedules of each of the four tests below: 1,000 in all."""
AT_ONCE = 80
ONE_SEED = "TUNIX_RT_TEST_SEED"
"""Environment variable that names a single schedule to replay."""

MANNERS: list[Manner] = ["told", "raises", "cancelled"]
WORDS = [
    b"step 12/600 loss 1.2345\n",
    b"\r 50%|#####     |\r",
    b"\r\n",
    b"\n\n",
    b"data: {}\n\nevent: end\ndata: {}\n\n",
    "grüße €uro 漢字 😀😀 é\u2028\u2029\u0085".encode(),
    b"\0\x1b[31mred\x1b[0m\x7f",
    b'"quotes" \\u0041 \\',
]
NO_UTF8 = [
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\x80\x80\x80\x80",
    b"\xf0\x9f\x98",
]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application on a server of its own."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with serving(settings) as found:
        yield found


async def eventually(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not fact():
            await asyncio.sleep(0.005)


def running(app: FastAPI) -> Any:
    return played(Scribe(app.state.database), app.state.settings.home)


def said(viewer: Viewer) -> bytes:
    """What a viewer was told of stdout, joined."""
    return b"".join(chunk(event) for event in viewer.events if event.name == "log" and event.data["stream"] == "stdout")


def chunk(event: Event) -> bytes:
    if "encoding" not in event.data:
        return str(event.data["chunk"]).encode()
    assert event.data["encoding"] == "base64"
    found = base64.b64decode(event.data["chunk"], validate=True)
    with pytest.raises(UnicodeDecodeError):
        found.decode()
    return found


# --- schedules --------------------------------------------------------------------------------------------------


class Schedule:
    """What happens to a run and its viewers by one seed; each of them draws from a generator of its own."""

    def __init__(self, seed: int, app: FastAPI, scribe: Scribe, small: bool, count: Counter[str]) -> None:
        self.seed, self.app, self.scribe, self.small, self.count = seed, app, scribe, small, count
        self.run: Played
        self.over = False
        self.moment = asyncio.Event()

    async def play(self) -> None:
        draw = random.Random(f"{self.seed} viewers")
        self.run = await played(self.scribe, self.app.state.settings.home, running=False)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.process())
            for number in range(draw.choice([1, 1, 1, 2])):
                group.create_task(self.viewer(random.Random(f"{self.seed} viewer {number}")))

    def tick(self) -> None:
        self.moment.set()
        self.moment = asyncio.Event()

    async def process(self) -> None:
        draw = random.Random(f"{self.seed} process")
        await self.run.move(RunStatus.RUNNING)
        for _ in range(draw.randint(1, 4)):
            for piece in self.pieces(draw):
                self.run.write(piece, draw.choice(["stdout", "stdout", "stderr"]))
                if draw.random() < 0.2:
                    await self.run.index()
                    self.tick()
            await self.run.index()
            self.tick()
            if draw.random() < 0.4:
                await asyncio.sleep(draw.random() * 0.03)
            if draw.random() < 0.12:
                await self.run.again(self.run.file + draw.randint(1, 3))
        if draw.random() < 0.2:
            await self.run.move(RunStatus.CANCEL_REQUESTED)
            self.run.write(b"stopping", "stderr")
            await self.run.move(RunStatus.CANCELLED)
        else:
            self.run.write(draw.choice([b"", b"the end", b"torn \xe6\xbc"]))
            await self.run.move(draw.choice([RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TIMEOUT]))
        self.over = True
        self.tick()

    def pieces(self, draw: random.Random) -> list[bytes]:
        """What is written in one go: text cut at any byte."""
        data = b"".join(draw.choice(WORDS) for _ in range(draw.randint(0, 12)))
        if draw.random() < 0.2:
            data += draw.choice(NO_UTF8) + draw.choice(WORDS)
        if draw.random() < 0.1:
            size = 700 if self.small else draw.choice([70_000, 140_000])
            data += (draw.choice(WORDS) * (size // 4))[:size]
        cuts = sorted(draw.randint(0, len(data)) for _ in range(draw.randint(0, 3)))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    async def viewer(self, draw: random.Random) -> None:
        found = Found(self.run)
        if draw.random() < 0.2:
            await self.some_moments(draw.randint(1, 20))
        breaks = draw.randint(0, 3)
        while not found.ended:
            after = found.newest
            if draw.random() < 0.3:
                after = draw.randint(0, found.newest)
            slow = draw.choice([0.0, 0.0, 0.3, 1.0])

            async def pace(slow: float = slow) -> None:
                if draw.random() < slow:
                    await self.some_moments(draw.randint(1, 6))

            how: dict[str, Any] = {"last_event_id": str(after)}
            if draw.random() < 0.3:
                how = {"query": f"since_seq={after}"}
            elif draw.random() < 0.1:
                how["query"] = f"since_seq={draw.randint(0, 9)}"  # the header counts
            if after == 0 and draw.random() < 0.5:
                how = {"last_event_id": ""} if draw.random() < 0.5 else {}
            cut_after = draw.randint(0, draw.choice([0, 200, 800, 3000, 200_000]))
            view = Viewer(
                self.app,
                self.run.path,
                pace=pace,
                cut_after=cut_after if breaks else None,
                manner=draw.choice(MANNERS),
                **how,
            )
            breaks = max(0, breaks - 1)
            await view.ended()
            self.count["connections"] += 1
            found.take(view, after)
        found.check()
        self.count["base64"] += found.base64
        self.count["repeated"] += found.repeated

    async def some_moments(self, most: int) -> None:
        for _ in range(most):
            if self.over:
                return
            await self.moment.wait()


class Found:
    """What a viewer has over all its connections; every rule of the stream is checked on the way."""

    def __init__(self, run: Played) -> None:
        self.run = run
        self.pieces: dict[int, tuple[str, bytes]] = {}
        self.newest = 0
        self.change = -1
        self.ended = False
        self.base64 = self.repeated = 0

    def take(self, view: Viewer, after: int) -> None:
        assert view.status == 200, (view.status, view.body)
        assert view.headers["content-type"].startswith("text/event-stream")
        assert view.cut_after is not None or view.whole
        start = bytes(view.body[: len(b"retry: 1000\n\n")])
        assert b"retry: 1000\n\n".startswith(start)
        place, first = after, True
        for event in view.events:
            assert not self.ended, f"{event} after the end"
            if event.name == "log":
                seq = event.data["seq"]
                assert not first, "the first event is the present state"
                assert (event.id, seq) == (str(place + 1), place + 1)
                piece = (event.data["stream"], chunk(event))
                self.base64 += "encoding" in event.data
                self.repeated += seq in self.pieces
                assert self.pieces.setdefault(seq, piece) == piece
                place = seq
            else:
                assert event.id is None, "only a piece of the logs is a place to come back to"
            if event.name == "status":
                reason = event.data["status_reason"]
                change = 0 if reason is None else int(reason.split()[1])
                assert change >= self.change if first else change == self.change + 1, (change, self.change, first)
                self.change = change
                assert event.data["status"] == self.run.history[change][0]
            if event.name == "end":
                status, reason = self.run.history[-1]
                assert event.data == {"status": status, "status_reason": reason, "last_seq": place}
                assert self.change == len(self.run.history) - 1, "told of the last change before the end"
                self.ended = True
            first = False
        self.newest = max(self.newest, place)

    def check(self) -> None:
        assert sorted(self.pieces) == list(range(1, self.run.follower.place.seq + 1))
        for stream in logs.STREAMS:
            joined = b"".join(piece for _, (name, piece) in sorted(self.pieces.items()) if name == stream)
            assert joined == self.run.written(stream), stream


@pytest.mark.parametrize("small", [False, True], ids=["as it is", "with little kept"])
async def test_the_joined_chunks_equal_the_file_whatever_the_disconnects(
    app: FastAPI, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    count: Counter[str] = Counter()
    older = Hub._older

    async def counted(*arguments: Any) -> Any:
        count["fell behind"] += 1
        return await older(*arguments)

    monkeypatch.setattr(Hub, "_older", counted)
    if small:
        monkeypatch.setattr(tail, "KEPT_BYTES", 1000)
        monkeypatch.setattr(tail, "BATCH", 2)
        monkeypatch.setattr(logs, "PIECE_BYTES", 97)
    places = asyncio.Semaphore(AT_ONCE)
    scribe = Scribe(app.state.database)

    async def one(seed: int) -> None:
        async with places:
            try:
                await Schedule(seed, app, scribe, small, count).play()
            except (AssertionError, Exception) as error:
                error.add_note(f"schedule {seed}; alone: {ONE_SEED}={seed} pytest {Path(__file__).name} -k joined")
                raise

    chosen = os.environ.get(ONE_SEED)
    if chosen is not None:
        await one(int(chosen))
        return
    async with asyncio.TaskGroup() as group:
        for seed in range(SEEDS):
            group.create_task(one(seed))
    await eventually(lambda: app.state.hub.viewers == 0)
    assert count["connections"] > 2 * SEEDS
    assert count["base64"] > 100
    assert count["repeated"] > 10
    assert count["fell behind"] > (SEEDS if small else 0)


# --- facts ------------------------------------------------------------------------------------------------------


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
