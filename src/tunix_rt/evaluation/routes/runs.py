"""Evaluations of runs over HTTP: asked for, and the newest one shown."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tunix_rt.base.db import Database
from tunix_rt.base.errors import Conflict, Fault, NotFound, WrongUsage
from tunix_rt.base.http import Body, ReadSession, StrictRoute
from tunix_rt.evaluation import eval_sets, files, handlers, judges, service
from tunix_rt.evaluation.leaderboard import Board
from tunix_rt.evaluation.models import EvalSet
from tunix_rt.evaluation.schemas import EvaluationAccepted, EvaluationDetail
from tunix_rt.jobs.models import JobState
from tunix_rt.runs import service as runs
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import RunStatus
from tunix_rt.training import engines
from tunix_rt.training.decoding import Decoding

router = APIRouter(route_class=StrictRoute)


class EvaluateRequest(Body):
    """What a run's model shall answer, how, and who judges.

    Attributes:
        eval_set: name or digest; default: the run's, else the held-out split of its data set.
        judge: by name.
        max_new_tokens: longest answer.
        temperature: 0 is greedy.
        samples: answers an item.
        seed: of the draws.
    """

    eval_set: str | None = Field(None, min_length=1, max_length=200)
    judge: str = Field(judges.DEFAULT, max_length=500)
    max_new_tokens: int = Field(256, ge=1, le=2**20)
    temperature: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    samples: int = Field(1, ge=1, lt=1000)
    seed: int = Field(0, ge=0, lt=2**31)


@router.post(
    "/api/tunix/runs/{run_id}/evaluate",
    status_code=201,
    responses={202: {"model": EvaluationAccepted, "description": "with mode=async"}},
)
async def evaluate(
    request: Request,
    response: Response,
    run_id: str,
    body: EvaluateRequest | None = None,
    mode: Annotated[str | None, Query(pattern="^async$", description="`async`: a worker does it")] = None,
) -> EvaluationDetail | EvaluationAccepted:
    """Let a completed run's model answer an eval set, and judge the answers."""
    database: Database = request.app.state.database
    asked = body or EvaluateRequest.model_validate({})
    judge = judges.named(asked.judge, request.app.state.settings)
    if mode is None:
        engines.pick(None)  # this machine generates the answers; with mode=async a worker that has the engine does
    decoding = Decoding(asked.max_new_tokens, asked.temperature, asked.seed, asked.samples)
    if decoding.samples > 1 and decoding.temperature == 0:
        raise WrongUsage(
            f"{decoding.samples} samples at temperature 0 would all be equal.", hint="Set a temperature, 0.8 say."
        )
    async with database.read() as session:
        run = await runs.find(session, run_id)
    _refuse(run)
    eval_set = await _eval_set(database, run, asked.eval_set)
    async with database.write("evaluate") as session:
        number = await handlers.enqueue(session, run, eval_set.digest, asked.judge, decoding)
    if mode == "async":
        response.status_code = 202
        return EvaluationAccepted(run_id=run.id, eval_set=eval_set.name, judge=judge.name, job=number)
    state, reason = await request.app.state.here.over(number)
    if state is not JobState.DONE:
        raise Conflict(
            f"The run could not be evaluated: {reason}",
            hint=f"Try its model by hand: tunix-rt generate --model TUNIX_RT_HOME/runs/{run.id}/model ...",
        )
    board = Board(eval_set.digest, judge.digest, decoding.digest)
    async with database.read() as session:
        found = await service.newest_of(session, run.id, board)
        assert found is not None, "its job is done"
        rows = await service.rows(session, found[0])
    response.headers["location"] = f"/api/evaluations/{found[0].id}"
    return service.detail(*found, rows)


def _refuse(run: Run) -> None:
    if run.mode == "dry-run":
        raise Conflict("A dry run has no model to evaluate.", hint="Submit the run without dry_run.")
    if run.status != RunStatus.COMPLETED:
        raise Conflict(
            f"The run is {run.status}; only one that is completed has a model.",
            hint=f"Wait for it: tunix-rt runs logs {str(run.id)[:13]} -f",
        )


async def _eval_set(database: Database, run: Run, name: str | None) -> EvalSet:
    if name or run.eval_set:
        async with database.read() as session:
            return await eval_sets.find(session, name or run.eval_set or "")
    try:
        items = await eval_sets.held_out(database, run.dataset_key, "eval")
    except NotFound as error:
        raise NotFound(
            f"No eval set was named, and {error.detail}",
            hint='Name one: {"eval_set": "NAME"}; upload it to /api/eval-sets first.',
            faults=[Fault("eval_set", "missing")],
        ) from None
    async with database.write("eval-set") as session:
        return (await eval_sets.store(session, items, files.digest(items), None))[0]


@router.get("/api/tunix/runs/{run_id}/evaluation")
async def newest(session: ReadSession, run_id: str) -> EvaluationDetail:
    """The newest evaluation of a run."""
    run = await runs.find(session, run_id)
    found = await service.newest_of(session, run.id)
    if found is None:
        raise NotFound(
            f"The run has no evaluation{await handlers.why_none(session, run)}.",
            hint=f"Make one: tunix-rt runs evaluate {str(run.id)[:13]}",
        )
    return service.detail(*found, await service.rows(session, found[0]))
