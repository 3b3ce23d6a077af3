"""The leaderboard over HTTP: one board for each eval set, judge and decoding."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from tunix_rt.base.http import Page, Paged, ReadSession, StrictRoute
from tunix_rt.evaluation import eval_sets, judges, leaderboard
from tunix_rt.evaluation.leaderboard import Filters
from tunix_rt.evaluation.routes.upload import Label
from tunix_rt.evaluation.schemas import BoardView

router = APIRouter(route_class=StrictRoute)


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
        judge=judges.named(judge).name if judge else None,
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
