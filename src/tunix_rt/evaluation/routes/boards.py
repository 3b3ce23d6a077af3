"""The leaderboard over HTTP: one board for each eval set, judge and decoding."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tunix_rt.base.db import Database
from tunix_rt.base.http import Page, Paged, StrictRoute, ZonedTime
from tunix_rt.evaluation import eval_sets, judges, leaderboard
from tunix_rt.evaluation.leaderboard import Filters
from tunix_rt.evaluation.routes.upload import Label
from tunix_rt.evaluation.schemas import BoardView
from tunix_rt.evaluation.standings import Keeper, Window

router = APIRouter(route_class=StrictRoute)


@router.get("/api/tunix/evaluations", response_model=Page[BoardView])
async def boards(
    request: Request,
    paging: Paged,
    eval_set: Annotated[str | None, Query(max_length=200)] = None,
    dataset_key: Label = None,
    model_id: Label = None,
    judge: str | None = None,
    date_from: ZonedTime | None = None,
    date_to: ZonedTime | None = None,
    rows: Annotated[int, Query(ge=1, le=1000, description="of each board, from the top")] = 100,
    row_after: Annotated[uuid.UUID | None, Query(description="rows after this one, of its board alone")] = None,
) -> Response:
    """The leaderboard: one board for each eval set, judge and decoding; the newest evaluation of a run or name counts.

    `model_id` and `dataset_key` choose rows to show; ranks are those among all rows of the board.
    """
    database: Database = request.app.state.database
    keeper: Keeper = request.app.state.standings
    async with database.read() as session:
        filters = Filters(
            eval_set=(await eval_sets.find(session, eval_set)).digest if eval_set else None,
            judge=judges.named(judge, request.app.state.settings).name if judge else None,
            date_from=date_from,
            date_to=date_to,
            model_id=model_id,
            dataset_key=dataset_key,
        )
        found = await leaderboard.boards(session, filters)
    shown: list[tuple[leaderboard.Found, bytes]] = []
    for one in found:
        if paging.after is not None and not one.comes_after(paging.after):
            continue
        board = await keeper.page(database, one, filters, Window(rows, row_after))
        if board:
            shown.append((one, board))
        if len(shown) > paging.limit:
            break
    page = paging.page(shown, key=lambda pair: pair[0].place)
    data = b",".join(board for _, board in page.data)
    body = b'{"data":[' + data + b'],"pagination":' + page.pagination.model_dump_json().encode() + b"}"
    return Response(body, media_type="application/json")
