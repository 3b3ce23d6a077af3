"""Evaluations over HTTP: predictions judged, judged again, compared, shown item by item, and recomputed.

`POST /api/evaluations` takes predictions as its body (NDJSON, or one file of a form with its sidecar as the part
`meta`), so what belongs to them stands in the query: `name`, `eval_set`, `judge`, and what is known of the decoding.
"""

import asyncio
import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Conflict, Fault, cut
from tunix_rt.base.http import Page, Pagination, ReadSession, StrictRoute, UploadRoute, WriteSession
from tunix_rt.base.sorting import Sorted
from tunix_rt.evaluation import (
    comparing,
    eval_sets,
    files,
    judges,
    judging,
    judging_job,
    leaderboard,
    predictions,
    queued,
    service,
    statistics,
    verifying,
)
from tunix_rt.evaluation.decoding import Decoded, check_alike, resolve
from tunix_rt.evaluation.leaderboard import view
from tunix_rt.evaluation.routes.upload import (
    META,
    JudgeName,
    Label,
    Name,
    PredictionsUpload,
    read_form_predictions,
    read_predictions,
)
from tunix_rt.evaluation.schemas import (
    ComparisonView,
    Decoding,
    EvaluationCreated,
    EvaluationDetail,
    EvaluationView,
    ItemView,
    JudgingView,
    Outcome,
    QueuedEvaluation,
    Verified,
    Waiver,
)
from tunix_rt.evaluation.sidecar import model_of

router = APIRouter(route_class=StrictRoute)
uploads = APIRouter(route_class=UploadRoute)

Margin = Annotated[float, Query(ge=0, lt=1, allow_inf_nan=False)]
Seed = Annotated[int, Query(ge=0, lt=2**63)]
Across = Annotated[bool, Query(description="two that were decoded differently too")]
Mode = Annotated[Literal["async"] | None, Query(description="`async`: a worker judges; 202 says where to look")]
Sort = Literal["position", "score", "-score", "latency_s", "-latency_s", "completion_tokens", "-completion_tokens"]


async def _decoding(
    temperature: Annotated[float | None, Query(ge=0, le=100)] = None,
    top_p: Annotated[float | None, Query(gt=0, le=1)] = None,
    top_k: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    max_new_tokens: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    samples: Annotated[int | None, Query(ge=1, lt=1000)] = None,
    decoding_seed: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Decoding:
    return Decoding(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        max_new_tokens=max_new_tokens,
        samples=samples,
        seed=decoding_seed,
    )


_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"model": JudgingView, "description": "with mode=async"}}


@uploads.post("/api/evaluations", status_code=201, response_model=EvaluationCreated, responses=_ACCEPTED)
async def evaluate(
    request: Request,
    response: Response,
    name: Name,
    eval_set: Annotated[str, Query(max_length=200)],
    decoding: Annotated[Decoding, Depends(_decoding)],
    judge: JudgeName = judges.DEFAULT,
    model_id: Label = None,
    dataset_key: Label = None,
    mode: Mode = None,
) -> Any:
    """Judge predictions for an eval set, and store the evaluation with its items.

    The predictions are the body (NDJSON), or the file of a form whose field `meta` may hold their meta file. Parameters
    of the decoding that contradict what the predictions say of themselves are a conflict.
    """
    chosen = judges.named(judge, request.app.state.settings)
    database: Database = request.app.state.database
    async with database.read() as session:
        found = await eval_sets.find(session, eval_set)
        items = await eval_sets.items(session, found)
    upload = await read_predictions(request)
    answered = upload.predictions
    upload.check(found.digest)
    decoded = await _decoded(database, upload, decoding)
    model_id = model_of(model_id, upload.sidecar)
    if mode == "async":
        judging.unknown_ids(items, answered)
        async with database.write("judge") as session:
            kept = await predictions.store(session, found, answered)
            asked = await judging_job.enqueue(
                session,
                name=name,
                eval_set=found.digest,
                judge=judge,
                decoded=decoded,
                model_id=model_id,
                dataset_key=dataset_key,
                run_id=None,
                predictions=kept.number,
                before=None,
                n=len(answered.lines),
            )
        return _accepted(asked)
    result = await asyncio.to_thread(judging.judged, items, answered, chosen)
    marks = await service.marks_of(database, None, dataset_key, found)
    async with database.write() as session:
        stored = await service.store(
            session,
            name=name,
            eval_set=found,
            judge=chosen,
            answered=answered,
            result=result,
            decoded=decoded,
            model_id=model_id,
            dataset_key=dataset_key,
            marks=marks,
        )
    response.headers["location"] = f"/api/evaluations/{stored.id}"
    return service.created(stored, found, result)


async def _decoded(database: Database, upload: PredictionsUpload, given: Decoding) -> Decoded:
    """The decoding of an upload; see `decoding.resolve`."""
    recorded = None
    if upload.sidecar is None:
        async with database.read() as session:
            recorded = await leaderboard.recorded_decoding(session, upload.predictions.decoding)
    return resolve(given, upload.predictions, upload.sidecar, recorded)


def _accepted(asked: JudgingView) -> JSONResponse:
    return JSONResponse(asked.model_dump(mode="json"), 202, {"location": f"/api/judgings/{asked.job}"})


@router.post(
    "/api/evaluations/{evaluation_id}/judge", status_code=201, response_model=EvaluationCreated, responses=_ACCEPTED
)
async def judge_again(
    request: Request, response: Response, evaluation_id: str, judge: JudgeName, mode: Mode = None
) -> Any:
    """Judge the stored predictions of an evaluation by another judge; the old judgement stays beside the new one."""
    chosen = judges.named(judge, request.app.state.settings)
    database: Database = request.app.state.database
    async with database.read() as session:
        before, found = await service.find(session, evaluation_id)
        if before.n_repeated:
            raise Conflict(
                f"{before.name!r} repeats predictions of {before.n_repeated:,} items, which would be left out.",
                hint="Evaluate a file in which each id and sample stands once.",
            )
        items = await eval_sets.items(session, found)
        answered = await predictions.load(session, before.predictions_number)
    if mode == "async":
        async with database.write("judge") as session:
            asked = await judging_job.enqueue(
                session,
                name=before.name,
                eval_set=found.digest,
                judge=judge,
                decoded=leaderboard.decoded(before),
                model_id=before.model_id,
                dataset_key=before.dataset_key,
                run_id=before.run_id,
                predictions=before.predictions_number,
                before=before.id,
                n=len(answered.lines),
            )
        return _accepted(asked)
    result = await asyncio.to_thread(judging.judged, items, answered, chosen)
    marks = await service.marks_of(database, before.id, before.dataset_key, found)
    async with database.write() as session:
        stored = await service.store(
            session,
            name=before.name,
            eval_set=found,
            judge=chosen,
            answered=answered,
            result=result,
            decoded=leaderboard.decoded(before),
            model_id=before.model_id,
            dataset_key=before.dataset_key,
            run_id=before.run_id,
            marks=marks,
        )
    response.headers["location"] = f"/api/evaluations/{stored.id}"
    return service.created(stored, found, result)


@router.post("/api/evaluations/{evaluation_id}/verify")
async def verify(request: Request, evaluation_id: str) -> Verified:
    """Compute every figure of an evaluation again from its items, judge its predictions again, and compare."""
    database: Database = request.app.state.database
    async with database.read() as session:
        evaluation, eval_set = await service.find(session, evaluation_id)
        rows = await service.rows(session, evaluation)
        items = await eval_sets.items(session, eval_set)
        answered = await predictions.load(session, evaluation.predictions_number)
    return await asyncio.to_thread(verifying.verified, evaluation, rows, items, answered)


@router.post("/api/evaluations/{evaluation_id}/waive")
async def waive(session: WriteSession, evaluation_id: str, body: Waiver) -> EvaluationView:
    """Put an evaluation on the board in spite of its contamination, with the reason, which is shown."""
    evaluation, eval_set = await service.find(session, evaluation_id)
    evaluation.waiver = body.reason
    await session.flush()
    return view(evaluation, eval_set)


@router.get("/api/evaluations")
async def list_evaluations(
    session: ReadSession,
    paging: Sorted,
    q: Annotated[str | None, Query(max_length=200, description="part of a name, or the beginning of an id")] = None,
) -> Page[EvaluationView]:
    """Every evaluation, newest first or sorted by a column, older ones of the same name too."""
    return await service.page(session, q, paging)


@router.get("/api/evaluations/queue")
async def list_queue(request: Request, session: ReadSession) -> Page[QueuedEvaluation]:
    """Evaluations of runs that are being done, that wait (first the one that is next), and that failed lately."""
    found = await queued.unfinished(session, request.app.state.settings.lease_seconds)
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))


@router.get("/api/evaluations/compare")
async def compare(
    session: ReadSession,
    base: Annotated[str, Query(max_length=60)],
    other: Annotated[str, Query(max_length=60)],
    margin: Margin = statistics.MARGIN,
    seed: Seed = 0,
    across_decodings: Across = False,
) -> ComparisonView:
    """Compare two evaluations of one board, item by item; with `across_decodings` also of two that differ in that."""
    found = [await service.find(session, text) for text in (base, other)]
    leaderboard.same_board(found[0], found[1], across_decodings)
    sides = [await service.side(session, evaluation) for evaluation, _ in found]
    return await asyncio.to_thread(comparing.compare, sides[0], sides[1], margin, seed)


@uploads.post("/api/evaluations/compare")
async def compare_files(
    request: Request,
    eval_set: Annotated[str, Query(max_length=200)],
    judge: JudgeName = judges.DEFAULT,
    margin: Margin = statistics.MARGIN,
    seed: Seed = 0,
    across_decodings: Across = False,
) -> ComparisonView:
    """Judge and compare two files of predictions, the form's fields `a` and `b`; nothing is stored.

    Their meta files, where they have some, are the fields `a_meta` and `b_meta`.
    """
    chosen = judges.named(judge, request.app.state.settings)
    database: Database = request.app.state.database
    async with database.read() as session:
        found = await eval_sets.find(session, eval_set)
        items = await eval_sets.items(session, found)
    read: list[tuple[str, PredictionsUpload, Decoded]] = []
    async with request.form(max_files=4, max_fields=2) as form:
        for field in ("a", "b"):
            part = form.get(field)
            if not isinstance(part, UploadFile):
                raise BadInput(f"The form has no file {field!r}.", hint="Send two files, as form fields a and b.")
            try:
                answered = await read_form_predictions(form, part, f"{field}_{META}")
            except BadInput as error:
                raise files.about(field, error) from None
            answered.check(found.digest)
            read.append((part.filename or field, answered, await _decoded(database, answered, Decoding())))
    if not across_decodings:
        check_alike(*((name, decoded) for name, _, decoded in read))
    sides = []
    for field, (name, answered, decoded) in zip("ab", read, strict=True):
        try:
            result = await asyncio.to_thread(judging.judged, items, answered.predictions, chosen)
        except BadInput as error:
            raise files.about(field, error) from None
        sides.append(comparing.side(name, result.rows, decoded))
    return await asyncio.to_thread(comparing.compare, sides[0], sides[1], margin, seed)


@router.get("/api/evaluations/{evaluation_id}")
async def show_evaluation(session: ReadSession, evaluation_id: str) -> EvaluationDetail:
    """An evaluation with its scorecard."""
    evaluation, eval_set = await service.find(session, evaluation_id)
    rows = await service.rows(session, evaluation)
    return service.detail(evaluation, eval_set, rows)


@router.get("/api/evaluations/{evaluation_id}/items")
async def list_items(
    session: ReadSession,
    evaluation_id: str,
    item: Label = None,
    outcome: Outcome | None = None,
    section: Label = None,
    category: Label = None,
    difficulty: Label = None,
    contaminated: bool | None = None,
    sort: Sort = "position",
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[ItemView]:
    """The items of an evaluation, sample by sample; by default in the order of the eval set."""
    evaluation, _ = await service.find(session, evaluation_id)
    start = _start(cursor)
    found = await service.items(
        session,
        evaluation,
        item=item,
        outcome=outcome,
        section=section,
        category=category,
        difficulty=difficulty,
        contaminated=contaminated,
        sort=sort,
        start=start,
        limit=limit + 1,
    )
    more = base64.urlsafe_b64encode(f"item|{start + limit}".encode()) if len(found) > limit else None
    return Page(
        data=[service.item_view(*row) for row in found[:limit]],
        pagination=Pagination(limit=limit, next_cursor=more.decode() if more else None),
    )


def _start(cursor: str | None) -> int:
    """The place that a cursor of the items stands for: judged items never change, so a place stays one."""
    if cursor is None:
        return 0
    try:
        kind, place = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").split("|")
        if kind != "item" or not 0 <= int(place) < 2**31:
            raise ValueError(cursor)
        return int(place)
    except (ValueError, binascii.Error):
        raise BadInput(
            f"The cursor {cut(cursor, 60)!r} is not one that this list gave.",
            hint="Leave `cursor` out to start from the first.",
            faults=[Fault("cursor", "not a cursor")],
        ) from None
