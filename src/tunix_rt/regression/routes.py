"""HTTP routes of the regression gate."""

from fastapi import APIRouter, Request, Response

from tunix_rt.base.http import Page, Paged, ReadSession, StrictRoute, WriteSession
from tunix_rt.regression import service
from tunix_rt.regression.models import Baseline
from tunix_rt.regression.schemas import BaselineRequest, BaselineView, CheckRequest, CheckView

router = APIRouter(route_class=StrictRoute)


@router.post("/api/regression/baselines", status_code=201)
async def set_baseline(session: WriteSession, response: Response, body: BaselineRequest) -> BaselineView:
    """Set what later evaluations are held against; the same again is 200 with the one that is there."""
    found, new = await service.set_baseline(session, body)
    response.status_code = 201 if new else 200
    return found


@router.get("/api/regression/baselines")
async def list_baselines(session: ReadSession, paging: Paged) -> Page[BaselineView]:
    """The baseline of each name, newest first."""
    found = await service.baselines(session, paging.where(Baseline.created_at, Baseline.id), paging.limit + 1)
    return paging.page(found, key=lambda row: (row.created_at, row.id))


@router.post("/api/regression/check")
async def check(request: Request, body: CheckRequest) -> CheckView:
    """Hold an evaluation, or the newest one of a run, against a baseline."""
    return await service.check(request.app.state.database, body)
