"""Aliases: names that move from version to version. The newest move of one says where it points."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import present
from tunix_rt.base.http import Page, Paging
from tunix_rt.jobs import here
from tunix_rt.registry.models import AliasMove, ModelVersion
from tunix_rt.registry.schemas import AliasView, Move


async def pointing(session: AsyncSession, families: Sequence[int]) -> dict[int, list[AliasView]]:
    """Where the aliases of some families point, by name."""
    last = (
        select(func.max(AliasMove.number))
        .where(AliasMove.family_number.in_(families))
        .group_by(AliasMove.family_number, AliasMove.alias)
    )
    query = (
        select(AliasMove, ModelVersion.version)
        .join(ModelVersion, ModelVersion.number == AliasMove.after_number)
        .where(AliasMove.number.in_(last))
        .order_by(AliasMove.alias)
    )
    found: dict[int, list[AliasView]] = {number: [] for number in families}
    for move, label in await session.execute(query):
        found[move.family_number].append(_view(move, label))
    return found


async def point(
    session: AsyncSession, to: ModelVersion, alias: str, actor: str | None, reason: str | None
) -> AliasView:
    """Point an alias at a version; where it points there already, nothing is noted.

    The caller has locked the family.
    """
    known = (await pointing(session, [to.family_number]))[to.family_number]
    now = next((one for one in known if one.alias == alias), None)
    if now is not None and now.version == to.version:
        return now
    move = AliasMove(
        family_number=to.family_number,
        alias=alias,
        created_at=await present(session),
        before=now.version if now else None,
        after_number=to.number,
        actor=actor or here.NAME,
        reason=reason or None,
    )
    session.add(move)
    await session.flush()
    return _view(move, to.version)


async def history(session: AsyncSession, family: int, paging: Paging) -> Page[Move]:
    """A page of the moves of a family's aliases, newest first."""
    query = (
        select(AliasMove, ModelVersion.version)
        .join(ModelVersion, ModelVersion.number == AliasMove.after_number)
        .where(AliasMove.family_number == family, *paging.where(AliasMove.created_at, AliasMove.id))
        .order_by(AliasMove.created_at.desc(), AliasMove.id.desc())
        .limit(paging.limit + 1)
    )
    rows = [
        Move(
            id=move.id,
            alias=move.alias,
            created_at=move.created_at,
            before=move.before,
            after=after,
            actor=move.actor,
            reason=move.reason,
        )
        for move, after in await session.execute(query)
    ]
    return paging.page(rows, lambda row: (row.created_at, row.id))


def _view(move: AliasMove, label: str) -> AliasView:
    return AliasView(alias=move.alias, version=label, moved_at=move.created_at, actor=move.actor, reason=move.reason)
