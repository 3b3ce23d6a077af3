"""Random histories of runs, with several workers, lost leases and jumps of the clock: no run is lost or done twice."""

import asyncio
import contextlib
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from hypothesis import HealthCheck, Phase
from hypothesis import settings as options
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from tests.make import Hand, clock_jumps, dataset, ended, stored, trace
from tunix_rt.app import create_app
from tunix_rt.base.db import Database, now
from tunix_rt.base.errors import Conflict
from tunix_rt.base.settings import Settings
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, LeaseLost
from tunix_rt.jobs.retry import End
from tunix_rt.runs import service
from tunix_rt.runs.models import Run, RunEvent
from tunix_rt.runs.schemas import RetryRequest, RunRequest
from tunix_rt.runs.states import FINAL, MOVES, RunStatus

T = TypeVar("T")
LEASE = 60.0

TOGETHER: dict[RunStatus, set[JobState]] = {
    RunStatus.PENDING: {JobState.PENDING},
    RunStatus.RUNNING: {JobState.RUNNING},
    RunStatus.CANCEL_REQUESTED: {JobState.RUNNING},
    RunStatus.COMPLETED: {JobState.DONE},
    RunStatus.FAILED: {JobState.FAILED},
    RunStatus.TIMEOUT: {JobState.FAILED},
    # Who asked to cancel is served, however the attempt ended in that moment.
    RunStatus.CANCELLED: {JobState.CANCELLED, JobState.DONE, JobState.FAILED},
}
"""The states that a job may be in while its run is in a state."""


@dataclass
class Known:
    """What the outside was told of a run."""

    cancelled: bool = False
    key: str | None = None
    asked: RunRequest | None = None


@dataclass
class Held:
    """A claim that a worker believes to hold."""

    hand: Hand
    job: Claimed

    @property
    def run(self) -> uuid.UUID:
        return uuid.UUID(self.job.payload["run"])


@dataclass
class Seen:
    """A run with its job and its history, as stored; `row` has the columns of COLUMNS."""

    row: Any
    events: list[tuple[str | None, str]] = field(default_factory=list)


COLUMNS = (
    Run.number,
    Run.id,
    Run.engine,
    Run.status,
    Run.attempt,
    Run.max_attempts,
    Run.completed_at,
    Run.revision,
    Job.state,
    Job.attempt.label("job_attempt"),
    Job.lease_expires_at,
)


class History(RuleBasedStateMachine):
    """One history; its steps are the product's own functions."""

    runner: asyncio.Runner
    database: Database
    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self.hands = [Hand(self.database, self.settings, f"w{number}", lease_seconds=LEASE) for number in range(3)]
        self.seen: dict[uuid.UUID, Seen] = {}  # as it was after the last step
        self.known: dict[uuid.UUID, Known] = {}
        self.held: list[Held] = []
        self.good: dict[uuid.UUID, int] = {}  # the claim that may still write, by run

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        async def wipe() -> None:
            async with self.database.write() as session:
                for table in (RunEvent, Run, Job):
                    await session.execute(delete(table))

        self.do(wipe())

    # --- steps ------------------------------------------------------------------------------------------------------

    @rule(
        priority=st.integers(-1, 1),
        attempts=st.integers(1, 3),
        engine=st.sampled_from(["tunix", "torch"]),
        key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def submit(self, priority: int, attempts: int, engine: str, key: str | None) -> None:
        request = RunRequest(
            dataset_key="data-v1", engine=engine, dry_run=False, priority=priority, max_attempts=attempts
        )

        async def work() -> tuple[uuid.UUID, bool]:
            async with self.database.write() as session:
                run, _, new = await service.submit(session, self.settings.home, request, key)
                return run.id, new

        before = [(identity, known.asked) for identity, known in self.known.items() if key and known.key == key]
        try:
            identity, new = self.do(work())
        except Conflict:
            assert before
            assert before[0][1] != request
            return
        assert new is not bool(before)
        if new:
            self.known[identity] = Known(key=key, asked=request)
        else:
            assert before == [(identity, request)]

    @rule(place=st.integers(0, 2), offers=st.sampled_from([["tunix"], ["tunix", "torch"], []]))
    def claim(self, place: int, offers: list[str]) -> None:
        hand = self.hands[place]
        hand.offers = offers
        job = self.do(hand.claims())
        if job is not None:
            held = Held(hand, job)
            assert self.seen[held.run].row.engine in offers
            assert held.run not in self.good, "somebody holds it already"
            self.held.append(held)
            self.good[held.run] = job.claim

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        self.beats(data.draw(st.sampled_from(self.held)))

    def beats(self, held: Held) -> None:
        async def work() -> bool:
            try:
                async with held.hand.lease(held.job).write("beat"):
                    return True
            except LeaseLost:
                return False

        assert self.do(work()) is self.may_write(held)

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        end=st.sampled_from([End.DONE, End.CRASHED, End.CRASHED, End.REFUSED, End.RELEASED, "timeout", "cancel"]),
    )
    def finish(self, data: st.DataObject, end: End | str) -> None:
        held = data.draw(st.sampled_from(self.held))
        if end == "timeout":
            outcome = ended(End.REFUSED, RunStatus.TIMEOUT, "over its limit")
        elif end == "cancel":  # a worker only does so when it has seen that somebody asked to
            if self.seen[held.run].row.status != RunStatus.CANCEL_REQUESTED:
                return
            outcome = ended(End.CANCELLED)
        else:
            outcome = ended(End(end), reason=None if end is End.DONE else "why")
        may = self.may_write(held)
        assert (self.do(held.hand.ends(held.job, outcome)) is not None) is may, "only the newest claim's result counts"
        self.held.remove(held)
        if may:
            del self.good[held.run]

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from(sorted(self.known)))
        before = self.seen[identity].row.status

        async def work() -> RunStatus | None:
            async with self.database.write() as session:
                try:
                    return await service.cancel(session, await service.find(session, str(identity)))
                except Conflict:
                    return None

        told = self.do(work())
        assert (told is None) is (before in FINAL), "only what is over cannot be cancelled"
        if told is not None:
            self.known[identity].cancelled = True

    @precondition(lambda self: self.known)
    @rule(data=st.data(), from_start=st.booleans())
    def retry(self, data: st.DataObject, from_start: bool) -> None:
        identity = data.draw(st.sampled_from(sorted(self.known)))
        before = self.seen[identity].row.status

        async def work() -> uuid.UUID | None:
            async with self.database.write() as session:
                run = await service.find(session, str(identity))
                try:
                    again, _, new = await service.retry(session, run, RetryRequest(from_start=from_start))
                except Conflict:
                    return None
                assert new
                return again.id

        again = self.do(work())
        may = before in FINAL and (from_start or before != RunStatus.COMPLETED)
        assert (again is not None) is may
        if again is not None:
            self.known[again] = Known()

    @rule(seconds=st.sampled_from([-401.0, -41.0, -5.5, 1.5, 29.0, 71.0, 401.0]))
    def jump(self, seconds: float) -> None:
        self.do(clock_jumps(self.database, seconds))

    @rule(place=st.integers(0, 2))
    def reap(self, place: int) -> None:
        before = {
            identity: (seen.row.lease_expires_at - now()).total_seconds()
            for identity, seen in self.seen.items()
            if seen.row.state == JobState.RUNNING
        }
        self.do(self.hands[place].reaps())
        after = self.look()
        for identity, left in before.items():
            kept = after[identity].row.state == JobState.RUNNING
            assert not kept or left > -1, "its lease had run out"
            assert kept or left < 1, "its lease had not run out"
            if not kept:
                del self.good[identity]

    @precondition(lambda self: self.good)
    @rule(place=st.integers(0, 2))
    def pass_on(self, place: int) -> None:
        """All leases run out, and who comes first gets a job that somebody else believes to hold."""
        self.jump(71.0 + LEASE)
        self.holds()
        self.reap(place)
        self.jump(29.0)
        self.claim(place, ["tunix", "torch"])
        for held in self.held:
            self.beats(held)

    # --- what always holds ------------------------------------------------------------------------------------------

    def may_write(self, held: Held) -> bool:
        return self.good.get(held.run) == held.job.claim

    def look(self) -> dict[uuid.UUID, Seen]:
        async def work() -> dict[uuid.UUID, Seen]:
            async with self.database.read() as session:
                rows = (await session.execute(select(*COLUMNS).outerjoin(Job, Job.number == Run.job_number))).all()
                found = {row.number: Seen(row) for row in rows}
                events = select(RunEvent.run_number, RunEvent.before, RunEvent.after).order_by(RunEvent.number)
                for number, before, after in (await session.execute(events)).all():
                    found[number].events.append((before, after))
            return {seen.row.id: seen for seen in found.values()}

        self.seen = self.do(work())
        return self.seen

    @invariant()
    def holds(self) -> None:
        found = self.look()
        assert found.keys() == self.known.keys(), "a run is there as soon as it is accepted, and for ever"
        for identity, seen in found.items():
            row, status = seen.row, RunStatus(seen.row.status)
            assert row.state in TOGETHER[status], f"{status} while its job is {row.state}"
            assert (row.state == JobState.RUNNING) is (identity in self.good)
            assert (row.completed_at is not None) is (status in FINAL)
            assert row.attempt <= row.max_attempts
            assert row.attempt == row.job_attempt or status is RunStatus.CANCELLED
            if self.known[identity].cancelled:
                assert status in (RunStatus.CANCEL_REQUESTED, RunStatus.CANCELLED), "a promise was broken"
            assert seen.events[0] == (None, RunStatus.PENDING)
            befores, afters = zip(*seen.events, strict=True)
            assert befores[1:] == afters[:-1], "a gap in its history"
            assert all(RunStatus(after) in MOVES[RunStatus(str(before))] for before, after in seen.events[1:])
            assert afters[-1] == status
            assert row.revision == len(afters) - 1
            assert sum(after in FINAL for after in afters) == (status in FINAL), "it ends once"

    def teardown(self) -> None:
        hand = self.hands[0]
        hand.offers = ["tunix", "torch"]
        quiet = 0
        while quiet < 2:  # once more, since what was reaped waits before it is tried again
            self.do(clock_jumps(self.database, 10_000))
            self.do(hand.reaps())
            quiet += 1
            while (job := self.do(hand.claims())) is not None:
                assert self.do(hand.ends(job, ended(End.DONE))) is not None
                quiet = 0
        for identity, seen in self.look().items():
            assert seen.row.status in FINAL, f"left {seen.row.status} for ever"
            assert not self.known[identity].cancelled or seen.row.status == RunStatus.CANCELLED


async def prepare(settings: Settings) -> None:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        await stored(api, trace(1))
        await dataset(api)


def test_no_history_loses_a_run_or_does_one_twice(settings: Settings) -> None:
    with asyncio.Runner() as runner:
        runner.run(prepare(settings))
        database = Database(settings.sqlalchemy_url)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: runner.run(database.close()))
            machine = type("Machine", (History,), {"runner": runner, "database": database, "settings": settings})
            # A history is short enough to be read as it is; shrinking one takes minutes.
            chosen = options(max_examples=30, stateful_step_count=22, deadline=None, phases=[Phase.generate])
            run_state_machine_as_test(
                machine, settings=options(chosen, suppress_health_check=list(HealthCheck), database=None)
            )
