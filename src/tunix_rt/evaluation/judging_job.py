"""Judging as a job of a worker: for judges that take minutes, since they wait for somebody else.

The predictions are stored before the job is; how far it is stands in its payload, for whoever asks. A worker that takes
it over from one that died judges from the start, which costs nothing where the judge keeps its replies (as `llm` does).
"""

import asyncio
import threading
import uuid
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, new_id
from tunix_rt.base.errors import NotFound, Unavailable
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation import eval_sets, files, judges, judging, predictions, service
from tunix_rt.evaluation.decoding import Decoded, stated
from tunix_rt.evaluation.handlers import PRIORITY
from tunix_rt.evaluation.judges import Judge, Judgement, Question
from tunix_rt.evaluation.models import EvalSet
from tunix_rt.evaluation.schemas import Decoding, JudgingView
from tunix_rt.jobs import queue
from tunix_rt.jobs.lease import Lease
from tunix_rt.jobs.loop import Outcome
from tunix_rt.jobs.models import Job, JobState
from tunix_rt.jobs.queue import Claimed, Settled
from tunix_rt.jobs.retry import End

KIND = "judge"
NOTED_SECONDS = 1.0
"""How often it is noted how far a judging is."""


class Asked(BaseModel):
    """What shall be judged, by whom, and what is known of it.

    Attributes:
        evaluation: the id that it will have. before: the evaluation whose predictions these are, where there is one.
        eval_set: digest. predictions: number.
        n: outputs. judged: how many of them are, at the last look.
        decoding_digest: None in jobs that earlier versions have queued: that of `decoding`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluation: uuid.UUID
    name: str
    eval_set: str
    judge: str
    decoding: Decoding
    decoding_digest: str | None = None
    model_id: str | None
    dataset_key: str | None
    run_id: uuid.UUID | None
    predictions: int
    before: uuid.UUID | None
    n: int
    judged: int = 0

    @property
    def decoded(self) -> Decoded:
        """The decoding of the predictions."""
        return stated(self.decoding) if self.decoding_digest is None else Decoded(self.decoding, self.decoding_digest)


async def enqueue(session: AsyncSession, decoded: Decoded, **asked: Any) -> JudgingView:
    """Ask for a judging; see `Asked` for what it takes."""
    what = Asked(evaluation=new_id(), decoding=decoded.decoding, decoding_digest=decoded.digest, **asked)
    number, _ = await queue.enqueue(session, KIND, what.model_dump(mode="json"), priority=PRIORITY)
    return _view(number, JobState.PENDING, None, what)


async def find(session: AsyncSession, number: int) -> JudgingView:
    """How far a judging is.

    Raises:
        NotFound: there is none of that number.
    """
    query = select(Job.state, Job.reason, Job.payload).where(Job.number == number, Job.kind == KIND)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound(f"There is no judging {number}.")
    return _view(number, JobState(found.state), found.reason, Asked.model_validate(found.payload))


def _view(number: int, state: JobState, reason: str | None, asked: Asked) -> JudgingView:
    done = state is JobState.DONE
    return JudgingView(
        job=number,
        state=state,
        reason=None if done else reason,
        judge=asked.judge,
        n=asked.n,
        n_judged=asked.n if done else asked.judged,
        evaluation_id=asked.evaluation if done else None,
    )


class _StoppedError(Exception):
    """The judging shall end."""


class _Watched:
    """A judge whose work is counted, and ends when it is told to."""

    def __init__(self, judge: Judge) -> None:
        self.stop = threading.Event()
        self.count = 0
        self._lock = threading.Lock()
        self._judge = judge.judge
        self.judge = replace(judge, judge=self._watched)

    def _watched(self, question: Question, output: str) -> Judgement:
        if self.stop.is_set():
            raise _StoppedError
        found = self._judge(question, output)
        with self._lock:
            self.count += 1
        return found


@dataclass(frozen=True)
class _Done:
    """What is stored when the job is settled."""

    asked: Asked
    eval_set: EvalSet
    judge: Judge
    answered: files.Predictions
    judged: judging.Judged
    marks: service.Marks | None


class JudgeHandler:
    """See `jobs.loop.Handler`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def claimed(self, session: AsyncSession, job: Claimed) -> None:
        """See `jobs.loop.Handler`: nothing is noted."""

    async def work(self, lease: Lease) -> Outcome:
        """See `jobs.loop.Handler`."""
        asked = Asked.model_validate(lease.job.payload)
        watched = _Watched(judges.named(asked.judge, self._settings))
        async with self._database.read() as session:
            eval_set = await eval_sets.find(session, asked.eval_set)
            items = await eval_sets.items(session, eval_set)
            answered = await predictions.load(session, asked.predictions)
        working = asyncio.create_task(asyncio.to_thread(judging.judged, items, answered, watched.judge))
        try:
            await self._watch(lease, asked, watched, working)
            judged = await working
        except _StoppedError:
            return Outcome(End.RELEASED, "its worker was asked to stop")
        except Unavailable as problem:
            return Outcome(End.CRASHED, problem.detail)
        finally:  # requests on their way are let go: what they bring is kept, and nothing else is written
            watched.stop.set()
            working.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        marks = await service.marks_of(self._database, asked.before, asked.dataset_key, eval_set)
        return Outcome(End.DONE, result=_Done(asked, eval_set, watched.judge, answered, judged, marks))

    async def _watch(self, lease: Lease, asked: Asked, watched: _Watched, working: "asyncio.Task[Any]") -> None:
        """Note how far it is until it is over; raises `_StoppedError` when the worker shall end."""
        noted = 0
        while not working.done():
            await asyncio.wait({working}, timeout=NOTED_SECONDS)
            if lease.stop.is_set() and not working.done():
                raise _StoppedError
            if watched.count > noted:
                noted = watched.count
                payload = asked.model_copy(update={"judged": noted}).model_dump(mode="json")
                async with lease.write("progress") as session:
                    await session.execute(update(Job).where(Job.number == lease.job.number).values(payload=payload))

    async def settled(self, session: AsyncSession, job: Claimed, outcome: Outcome, settled: Settled) -> None:
        """See `jobs.loop.Handler`."""
        del job, settled
        done: Any = outcome.result
        if outcome.end is not End.DONE or not isinstance(done, _Done):
            return
        await service.store(
            session,
            identity=done.asked.evaluation,
            name=done.asked.name,
            eval_set=done.eval_set,
            judge=done.judge,
            answered=done.answered,
            result=done.judged,
            decoded=done.asked.decoded,
            model_id=done.asked.model_id,
            dataset_key=done.asked.dataset_key,
            run_id=done.asked.run_id,
            marks=done.marks,
        )
