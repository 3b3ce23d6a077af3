"""The live view of a run under attack: random schedules of viewers that break off at any byte and read slowly."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.runs.viewer import MANNERS, Viewer, chunk, eventually
from tests.runs.writer import Played, Scribe, played
from tunix_rt.runs import logs, tail
from tunix_rt.runs.states import RunStatus
from tunix_rt.runs.tail import Hub

SEEDS = 250
"""Schedules of each of the four tests: 1,000 in all."""
AT_ONCE = 80
ONE_SEED = "TUNIX_RT_TEST_SEED"
"""Environment variable that names a single schedule to replay."""

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


@pytest.mark.long
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
