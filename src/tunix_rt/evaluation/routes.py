"""HTTP routes of the evaluation.

`POST /api/evaluations` takes predictions as its body (NDJSON, or one file of a form), so what belongs to them stands
in the query: `name`, `eval_set`, `judge`, and what is known of the decoding.
"""

import asyncio
import base64
import binascii
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Annotated, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime
from starlette.datastructures import UploadFile

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Fault, cut
from tunix_rt.base.http import Page, Paged, Pagination, ReadSession, StrictRoute, UploadRoute, uploaded
from tunix_rt.base.store import naming_full_disk
from tunix_rt.evaluation import comparing, eval_sets, files, leaderboard, scorecard, service, statistics
from tunix_rt.evaluation.judges import DEFAULT, Judge, named
from tunix_rt.evaluation.leaderboard import Filters, view
from tunix_rt.evaluation.models import EvalItem, EvalSet, Evaluation
from tunix_rt.evaluation.schemas import (
    BoardView,
    ComparisonView,
    Decoding,
    EvalSetView,
    EvaluationCreated,
    EvaluationDetail,
    EvaluationView,
    ItemView,
    Outcome,
)

router = APIRouter(route_class=StrictRoute)
uploads = APIRouter(route_class=UploadRoute)

_PLAIN = r"^[^\x00-\x1f\x7f]+$"  # no control characters: no database keeps NUL
Name = Annotated[str, Query(min_length=1, max_length=200, pattern=_PLAIN)]
EvalSetName = Annotated[str | None, Query(max_length=100, pattern=eval_sets.NAME)]
Label = Annotated[str | None, Query(min_length=1, max_length=200, pattern=_PLAIN)]
Margin = Annotated[float, Query(ge=0, lt=1, allow_inf_nan=False)]
Seed = Annotated[int, Query(ge=0, lt=2**63)]


async def _decoding(
    temperature: Annotated[float | None, Query(ge=0, le=100)] = None,
    top_p: Annotated[float | None, Query(gt=0, le=1)] = None,
    top_k: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    max_new_tokens: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    samples: Annotated[int | None, Query(ge=1, le=1)] = None,
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


@asynccontextmanager
async def _spooled(chunks: AsyncIterator[bytes]) -> AsyncIterator[IO[bytes]]:
    """An upload as a file: a small one in memory, a large one on disk for as long as it is read."""
    with tempfile.SpooledTemporaryFile(max_size=16 * 2**20) as file:
        with naming_full_disk(Path(tempfile.gettempdir()) / "upload"):
            async for chunk in chunks:
                file.write(chunk)
        file.seek(0)
        yield cast("IO[bytes]", file)


# --- eval sets --------------------------------------------------------------------------------------------------


@uploads.post("/api/eval-sets", status_code=201)
async def upload_eval_set(request: Request, response: Response, name: EvalSetName = None) -> EvalSetView:
    """Store an eval set (NDJSON); the same content again is 200 with the one that is there."""
    database: Database = request.app.state.database
    async with _spooled(uploaded(request)) as file:
        items = await asyncio.to_thread(files.eval_items, file)
    digest = await asyncio.to_thread(files.digest, items)
    async with database.write() as session:
        eval_set, new = await eval_sets.store(session, items, digest, name)
        answer = _eval_set(eval_set)
    response.status_code = 201 if new else 200
    response.headers["location"] = f"/api/eval-sets/{answer.name}"
    return answer


def _eval_set(eval_set: EvalSet) -> EvalSetView:
    return EvalSetView.model_validate(eval_set, from_attributes=True)


@router.get("/api/eval-sets")
async def list_eval_sets(session: ReadSession, paging: Paged) -> Page[EvalSetView]:
    """Eval sets, newest first."""
    found = await eval_sets.newest(session, paging.where(EvalSet.created_at, EvalSet.id), paging.limit + 1)
    return paging.page([_eval_set(row) for row in found], key=lambda row: (row.created_at, row.id))


@router.get("/api/eval-sets/{name}")
async def show_eval_set(session: ReadSession, name: str) -> EvalSetView:
    """An eval set by its name, or by its digest or the beginning of that."""
    return _eval_set(await eval_sets.find(session, name))


# --- evaluations ------------------------------------------------------------------------------------------------


@uploads.post("/api/evaluations", status_code=201)
async def evaluate(
    request: Request,
    response: Response,
    name: Name,
    eval_set: Annotated[str, Query(max_length=200)],
    decoding: Annotated[Decoding, Depends(_decoding)],
    judge: str = DEFAULT,
    model_id: Label = None,
    dataset_key: Label = None,
) -> EvaluationCreated:
    """Judge predictions (NDJSON) for an eval set, and store the evaluation with its items."""
    chosen = named(judge)
    database: Database = request.app.state.database
    async with database.read() as session:
        found = await eval_sets.find(session, eval_set)
        items = await eval_sets.items(session, found)
    async with _spooled(uploaded(request)) as file:
        predictions, result = await asyncio.to_thread(_judge, file, items, chosen)
    async with database.write() as session:
        stored = await service.store(
            session,
            name=name,
            eval_set=found,
            judge=chosen,
            predictions_digest=predictions.digest,
            result=result,
            decoding=decoding,
            model_id=model_id,
            dataset_key=dataset_key,
        )
    response.headers["location"] = f"/api/evaluations/{stored.id}"
    return EvaluationCreated(
        **view(stored, found).model_dump(),
        scorecard=scorecard.scorecard(result.rows),
        rules=_rules([row.judgement.rule for row in result.rows]),
        unknown_ids=[cut(name) for name in result.unknown[:20]],
        repeated_ids=result.repeated[:20],
    )


def _judge(file: IO[bytes], items: Sequence[EvalItem], judge: Judge) -> tuple[files.Predictions, scorecard.Judged]:
    predictions = files.predictions(file)
    return predictions, service.judged(items, predictions, judge)


def _rules(rules: list[str | None]) -> dict[str, int]:
    return dict(Counter(rule for rule in rules if rule is not None).most_common())


@router.get("/api/evaluations")
async def list_evaluations(session: ReadSession, paging: Paged) -> Page[EvaluationView]:
    """Every evaluation, newest first, older ones of the same name too."""
    conditions = paging.where(Evaluation.created_at, Evaluation.id)
    found = await service.evaluations(session, conditions, paging.limit + 1)
    return paging.page([view(*row) for row in found], key=lambda row: (row.created_at, row.id))


@router.get("/api/evaluations/compare")
async def compare(
    session: ReadSession,
    base: Annotated[str, Query(max_length=60)],
    other: Annotated[str, Query(max_length=60)],
    margin: Margin = statistics.MARGIN,
    seed: Seed = 0,
) -> ComparisonView:
    """Compare two evaluations of one board, item by item."""
    found = [await service.find(session, text) for text in (base, other)]
    (first, second) = [(evaluation.name, service.board_of(evaluation, own)) for evaluation, own in found]
    leaderboard.same_board(first, second)
    sides = [await service.side(session, evaluation) for evaluation, _ in found]
    return await asyncio.to_thread(comparing.compare, sides[0], sides[1], margin, seed)


@uploads.post("/api/evaluations/compare")
async def compare_files(
    request: Request,
    eval_set: Annotated[str, Query(max_length=200)],
    judge: str = DEFAULT,
    margin: Margin = statistics.MARGIN,
    seed: Seed = 0,
) -> ComparisonView:
    """Judge and compare two files of predictions, the form's fields `a` and `b`; nothing is stored."""
    chosen = named(judge)
    database: Database = request.app.state.database
    async with database.read() as session:
        items = await eval_sets.items(session, await eval_sets.find(session, eval_set))
    sides = []
    async with request.form(max_files=2, max_fields=0) as form:
        for field in ("a", "b"):
            upload = form.get(field)
            if not isinstance(upload, UploadFile):
                raise BadInput(f"The form has no file {field!r}.", hint="Send two files, as form fields a and b.")
            try:
                _, result = await asyncio.to_thread(_judge, upload.file, items, chosen)
            except BadInput as error:
                raise files.about(field, error) from None
            sides.append(comparing.side(upload.filename or field, result))
    return await asyncio.to_thread(comparing.compare, sides[0], sides[1], margin, seed)


@router.get("/api/evaluations/{evaluation_id}")
async def show_evaluation(session: ReadSession, evaluation_id: str) -> EvaluationDetail:
    """An evaluation with its scorecard."""
    evaluation, eval_set = await service.find(session, evaluation_id)
    rows = await service.rows(session, evaluation)
    return EvaluationDetail(
        **view(evaluation, eval_set).model_dump(),
        scorecard=scorecard.scorecard(rows),
        rules=_rules([row.rule for row in rows]),
    )


@router.get("/api/evaluations/{evaluation_id}/items")
async def list_items(
    session: ReadSession,
    evaluation_id: str,
    outcome: Outcome | None = None,
    section: Label = None,
    category: Label = None,
    difficulty: Label = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[ItemView]:
    """The items of an evaluation, in the order of the eval set."""
    evaluation, _ = await service.find(session, evaluation_id)
    found = await service.items(
        session,
        evaluation,
        outcome=outcome,
        section=section,
        category=category,
        difficulty=difficulty,
        after=_after(cursor),
        limit=limit + 1,
    )
    more = base64.urlsafe_b64encode(f"item|{found[limit - 1][0].position}".encode()) if len(found) > limit else None
    return Page(
        data=[service.item_view(*row) for row in found[:limit]],
        pagination=Pagination(limit=limit, next_cursor=more.decode() if more else None),
    )


def _after(cursor: str | None) -> int:
    """The position that a cursor of the items stands for."""
    if cursor is None:
        return -1
    try:
        kind, position = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").split("|")
        if kind != "item" or not 0 <= int(position) < 2**31:
            raise ValueError(cursor)
        return int(position)
    except (ValueError, binascii.Error):
        raise BadInput(
            f"The cursor {cut(cursor, 60)!r} is not one that this list gave.",
            hint="Leave `cursor` out to start from the first.",
            faults=[Fault("cursor", "not a cursor")],
        ) from None


# --- boards -----------------------------------------------------------------------------------------------------


@router.get("/api/tunix/evaluations")
async def boards(
    session: ReadSession,
    paging: Paged,
    eval_set: Annotated[str | None, Query(max_length=200)] = None,
    dataset_key: Label = None,
    model_id: Label = None,
    judge: str | None = None,
    date_from: AwareDatetime | None = None,
    date_to: AwareDatetime | None = None,
) -> Page[BoardView]:
    """The leaderboard: one board for each eval set, judge and decoding; the newest evaluation of a run or name counts.

    `model_id` and `dataset_key` choose rows to show; ranks are those among all rows of the board.
    """
    filters = Filters(
        eval_set=(await eval_sets.find(session, eval_set)).digest if eval_set else None,
        judge=named(judge).name if judge else None,
        date_from=date_from,
        date_to=date_to,
        model_id=model_id,
        dataset_key=dataset_key,
    )
    shown = []
    for place, which in await leaderboard.boards(session, filters):
        if paging.after is not None and (place[0], place[1].int) >= (paging.after[0], paging.after[1].int):
            continue
        board = await leaderboard.board(session, which, filters)
        if board is not None:
            shown.append((place, board))
        if len(shown) > paging.limit:
            break
    page = paging.page(shown, key=lambda pair: pair[0])
    return Page(data=[board for _, board in page.data], pagination=page.pagination)


router.include_router(uploads)
