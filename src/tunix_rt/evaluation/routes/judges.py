"""The judges over HTTP."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request

from tunix_rt.base.http import Page, Pagination, StrictRoute
from tunix_rt.evaluation.judges import listing

router = APIRouter(route_class=StrictRoute)


@router.get("/api/judges")
async def show(request: Request) -> Page[listing.JudgeView]:
    """Every judge that is installed, and why one cannot be had."""
    found = await asyncio.to_thread(listing.listed, request.app.state.settings)
    return Page(data=found, pagination=Pagination(limit=len(found), next_cursor=None))


@router.get("/api/judges/{judge:path}")
async def show_one(request: Request, judge: Annotated[str, Path(max_length=500)]) -> listing.JudgeView:
    """A judge by `NAME` or `NAME:key=value,...`; 501 where a library that it needs is not installed."""
    return await asyncio.to_thread(listing.shown, judge, request.app.state.settings)
