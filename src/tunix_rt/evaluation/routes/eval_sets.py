"""Eval sets over HTTP: uploaded, or made from a split of a data set; listed and shown."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tunix_rt.base.db import Database
from tunix_rt.base.http import Page, Paged, ReadSession, StrictRoute, UploadRoute, uploaded
from tunix_rt.evaluation import eval_sets, files
from tunix_rt.evaluation.models import EvalSet
from tunix_rt.evaluation.routes.upload import spooled
from tunix_rt.evaluation.schemas import EvalSetView

router = APIRouter(route_class=StrictRoute)
uploads = APIRouter(route_class=UploadRoute)

EvalSetName = Annotated[str | None, Query(max_length=100, pattern=eval_sets.NAME)]


@uploads.post("/api/eval-sets", status_code=201)
async def upload_eval_set(
    request: Request,
    response: Response,
    name: EvalSetName = None,
    dataset_key: Annotated[str | None, Query(max_length=200)] = None,
    split: Annotated[str, Query(max_length=100)] = "eval",
) -> EvalSetView:
    """Store an eval set (NDJSON), or with `dataset_key` the traces of its split; one that is there already is 200."""
    database: Database = request.app.state.database
    if dataset_key is not None:
        items = await eval_sets.held_out(database, dataset_key, split)
    else:
        async with spooled(uploaded(request)) as file:
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
