"""Judgings that a worker does: how far each is."""

from typing import Annotated

from fastapi import APIRouter, Path

from tunix_rt.base.http import ReadSession, StrictRoute
from tunix_rt.evaluation import judging_job
from tunix_rt.evaluation.schemas import JudgingView

router = APIRouter(route_class=StrictRoute)


@router.get("/api/judgings/{number}")
async def show(session: ReadSession, number: Annotated[int, Path(ge=1, lt=2**63)]) -> JudgingView:
    """How far a judging is; its evaluation once it is done."""
    return await judging_job.find(session, number)
