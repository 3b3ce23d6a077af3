"""The overlap of a data set's training traces with an eval set over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from tunix_rt.base.http import Body, StrictRoute
from tunix_rt.evaluation import contamination
from tunix_rt.evaluation.schemas import ContaminationView

router = APIRouter(route_class=StrictRoute)


class ContaminationRequest(Body):
    """Name or digest of the eval set to look for."""

    eval_set: str = Field(min_length=1, max_length=200)


@router.post("/api/datasets/{key}/contamination")
async def look(key: str, body: ContaminationRequest, request: Request) -> ContaminationView:
    """Which items of an eval set stand in the training split; looked for once, then kept."""
    return await contamination.view(request.app.state.database, key, body.eval_set)


@router.get("/api/datasets/{key}/contamination")
async def show(
    key: str, request: Request, eval_set: Annotated[str, Query(min_length=1, max_length=200)]
) -> ContaminationView:
    """The same, as a link."""
    return await contamination.view(request.app.state.database, key, eval_set)
