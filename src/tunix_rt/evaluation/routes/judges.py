"""The judges over HTTP."""

import asyncio

from fastapi import APIRouter, Request

from tunix_rt.base.http import Page, Pagination, StrictRoute
from tunix_rt.evaluation.judges import listing

router = APIRouter(route_class=StrictRoute)


@router.get("/api/judges")
async def show(request: Request) -> Page[listing.JudgeView]:
    """Every judge that is installed, and why one cannot be had."""
    found = await asyncio.to_thread(listing.listed, request.app.state.settings)
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))
