"""The calculations of a trace over HTTP."""

import asyncio

from fastapi import APIRouter

from tunix_rt.base.http import ReadSession, StrictRoute
from tunix_rt.evaluation import calculations
from tunix_rt.evaluation.schemas import TraceCalculations
from tunix_rt.traces import service as traces

router = APIRouter(route_class=StrictRoute)


@router.get("/api/traces/{id}/calculations")
async def show(id: str, session: ReadSession) -> TraceCalculations:
    """What the trace calculates, and whether it is right: by the rules of the judge `steps`."""
    trace = await traces.get(session, id)
    return await asyncio.to_thread(calculations.of_trace, trace)
