"""Families, versions and aliases as their users meet them."""

import contextlib
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import is_sqlite, new_id, present
from tunix_rt.base.errors import BadInput, Conflict, NotFound, cut, nearest
from tunix_rt.base.http import Page, Paging
from tunix_rt.registry import aliases, content
from tunix_rt.registry.models import ModelFamily, ModelVersion
from tunix_rt.registry.schemas import (
    AliasRequest,
    AliasView,
    Damage,
    FamilyDetail,
    FamilyRequest,
    FamilyView,
    ModelFile,
    Move,
    VerifiedVersion,
    VersionDetail,
    VersionView,
)

FIRST_PAGE = 100
IN_LISTS = 5
"""Versions of a family that a list of families holds."""
_CARD_BYTES = 256 * 2**10
_REFERENCE = re.compile(r"(?P<name>[^@:]+)(?:@(?P<alias>[^@:]+)|:(?P<version>[^@:]+))?\Z")


# --- families ---------------------------------------------------------------------------------------------------


async def create(session: AsyncSession, asked: FamilyRequest) -> tuple[ModelFamily, bool]:
    """Make a family; one that is there already is left as it is.

    Returns:
        The family, and whether it is new.

    Raises:
        Conflict: it is there with another description.
    """
    insert: Any = insert_sqlite if is_sqlite(session) else insert_postgresql
    row = {
        "id": new_id(),
        "name": asked.name,
        "description": asked.description or "",
        "created_at": await present(session),
    }
    statement = insert(ModelFamily).values(row).on_conflict_do_nothing(index_elements=["name"])
    new = await session.scalar(statement.returning(ModelFamily.number)) is not None
    found = await family(session, asked.name)
    if asked.description is not None and asked.description != found.description:
        raise Conflict(
            f"The model {found.name} is there with another description: {cut(found.description, 100)!r}.",
            hint="Leave the description out to take it as it is, or choose another name.",
        )
    return found, new


async def family(session: AsyncSession, name: str, *, lock: bool = False) -> ModelFamily:
    """A family by its name.

    Args:
        session: of the caller.
        name: of the family.
        lock: nobody else adds to it until this transaction ends.

    Raises:
        NotFound: there is none; the near ones are named.
    """
    query = select(ModelFamily).where(ModelFamily.name == name)
    found = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        names = (await session.scalars(select(ModelFamily.name).order_by(ModelFamily.name).limit(1_000))).all()
        near = difflib.get_close_matches(name, names, n=10, cutoff=0.4) or names[:10]
        raise NotFound(
            f"There is no model {cut(name, 100)!r} in the registry.{nearest(name, near)}",
            hint="See what there is: tunix-rt models list",
        )
    return found


async def families(session: AsyncSession, paging: Paging) -> Page[FamilyView]:
    """A page of the families, newest first."""
    query = (
        select(ModelFamily)
        .where(*paging.where(ModelFamily.created_at, ModelFamily.id))
        .order_by(ModelFamily.created_at.desc(), ModelFamily.id.desc())
        .limit(paging.limit + 1)
    )
    found = list(await session.scalars(query))
    page = paging.page(found, lambda row: (row.created_at, row.id))
    return Page(data=await _family_views(session, page.data), pagination=page.pagination)


async def detail(session: AsyncSession, name: str) -> FamilyDetail:
    """A family with its versions, its aliases and what became of these."""
    found = await family(session, name)
    [seen] = await _family_views(session, [found], FIRST_PAGE)
    moves = await aliases.history(session, found.number, Paging(FIRST_PAGE))
    return FamilyDetail(**dict(seen), history=moves.data)


async def _family_views(session: AsyncSession, found: Sequence[ModelFamily], most: int = IN_LISTS) -> list[FamilyView]:
    """Families, each with so many of its versions, newest first."""
    numbers = [row.number for row in found]
    of_them = ModelVersion.family_number.in_(numbers)
    place = func.row_number().over(partition_by=ModelVersion.family_number, order_by=ModelVersion.number.desc())
    placed = select(ModelVersion.number, place.label("place")).where(of_them).subquery()
    newest = select(placed.c.number).where(placed.c.place <= most)
    query = select(ModelVersion).where(ModelVersion.number.in_(newest)).order_by(ModelVersion.number.desc())
    versions = (await session.scalars(query)).all()
    counted = select(ModelVersion.family_number, func.count()).where(of_them).group_by(ModelVersion.family_number)
    counts = {row[0]: row[1] for row in await session.execute(counted)}
    pointing = await aliases.pointing(session, numbers)
    return [
        FamilyView(
            id=row.id,
            name=row.name,
            description=row.description,
            created_at=row.created_at,
            version_count=counts.get(row.number, 0),
            versions=[view(row.name, one, pointing[row.number]) for one in versions if one.family_number == row.number],
            aliases=pointing[row.number],
        )
        for row in found
    ]


# --- versions ---------------------------------------------------------------------------------------------------


async def versions(session: AsyncSession, name: str, paging: Paging) -> Page[VersionView]:
    """A page of a family's versions, newest first."""
    found = await family(session, name)
    query = (
        select(ModelVersion)
        .where(ModelVersion.family_number == found.number, *paging.where(ModelVersion.created_at, ModelVersion.id))
        .order_by(ModelVersion.created_at.desc(), ModelVersion.id.desc())
        .limit(paging.limit + 1)
    )
    page = paging.page(list(await session.scalars(query)), lambda row: (row.created_at, row.id))
    pointing = (await aliases.pointing(session, [found.number]))[found.number]
    return Page(data=[view(name, row, pointing) for row in page.data], pagination=page.pagination)


async def version(session: AsyncSession, name: str, label: str) -> ModelVersion:
    """A version of a family.

    Raises:
        NotFound: there is no such family or version.
    """
    of = await family(session, name)
    query = select(ModelVersion).where(ModelVersion.family_number == of.number, ModelVersion.version == label)
    found = await session.scalar(query)
    if found is None:
        labels = (
            await session.scalars(
                select(ModelVersion.version)
                .where(ModelVersion.family_number == of.number)
                .order_by(ModelVersion.number.desc())
                .limit(20)
            )
        ).all()
        raise NotFound(
            f"The model {name} has no version {cut(label, 64)!r}.{nearest(label, labels)}",
            hint=f"See what there is: tunix-rt models show {name}",
        )
    return found


async def referred(session: AsyncSession, text: str) -> tuple[str, ModelVersion]:
    """What `name@alias`, `name:version` or `name` (its newest version) mean now; the family's name and the version.

    Raises:
        BadInput: it is none of these.
        NotFound: there is no such family, alias or version.
    """
    parts = _REFERENCE.match(text)
    if parts is None:
        raise BadInput(f"{cut(text, 100)!r} names no model.", hint="Write name, name@alias or name:version.")
    name, alias, label = parts["name"], parts["alias"], parts["version"]
    of = await family(session, name)
    if alias is not None:
        pointing = {one.alias: one.version for one in (await aliases.pointing(session, [of.number]))[of.number]}
        if alias not in pointing:
            raise NotFound(
                f"The model {name} has no alias {cut(alias, 64)!r}.{nearest(alias, pointing)}",
                hint=f"Set it: tunix-rt models alias {name} {cut(alias, 64)} VERSION",
            )
        label = pointing[alias]
    if label is None:
        newest = (
            select(ModelVersion)
            .where(ModelVersion.family_number == of.number)
            .order_by(ModelVersion.number.desc())
            .limit(1)
        )
        found = await session.scalar(newest)
        if found is None:
            raise NotFound(
                f"The model {name} has no version yet.",
                hint=f"Promote a run: tunix-rt models promote RUN --name {name}",
            )
        return name, found
    return name, await version(session, name, label)


async def shown(session: AsyncSession, name: str, found: ModelVersion) -> VersionView:
    """A version as it is answered."""
    return view(name, found, (await aliases.pointing(session, [found.family_number]))[found.family_number])


def view(name: str, found: ModelVersion, known: Sequence[AliasView]) -> VersionView:
    """A version with those of its family's aliases that point at it."""
    return VersionView.model_validate(
        {
            **{key: getattr(found, key) for key in _COLUMNS},
            "name": name,
            "n_files": len(found.files),
            "aliases": [one.alias for one in known if one.version == found.version],
        }
    )


_COLUMNS = (*("id", "version", "digest", "created_at", "actor", "kind", "size", "run_id", "provenance", "evaluations"),)


def files(found: ModelVersion) -> list[ModelFile]:
    """The files of a version, by path."""
    return [ModelFile.model_validate(row) for row in found.files]


def file(found: ModelVersion, path: str) -> ModelFile:
    """A file of a version; no other path leads anywhere.

    Raises:
        NotFound: the version has none of that path.
    """
    for one in files(found):
        if one.path == path:
            return one
    raise NotFound(f"Version {found.version} has no file {cut(path, 100)!r}.", hint="Its manifest lists what it has.")


def refuse_missing(home: Path, listed: Sequence[ModelFile]) -> None:
    """Refuse to begin what could not be ended.

    Raises:
        Failed: a file is not there, or not as long as it was.
    """
    for one in listed:
        path = content.place(home, one)
        size = path.stat().st_size if path.is_file() else None
        if size != one.size:
            raise content.damaged(one, "it is missing" if size is None else f"it has {size:,} bytes of {one.size:,}")


def with_content(home: Path, found: ModelVersion, seen: VersionView) -> VersionDetail:
    """A version with its files and its card."""
    listed = files(found)
    card = None
    for one in listed:
        if one.path == content.CARD:
            with contextlib.suppress(OSError), content.place(home, one).open("rb") as opened:
                card = opened.read(_CARD_BYTES).decode(errors="replace")
    return VersionDetail(**dict(seen), files=listed, card=card)


def verified(home: Path, name: str, found: ModelVersion) -> VerifiedVersion:
    """Compute every digest of a version again."""
    listed = files(found)
    wrong = []
    for one in listed:
        why = content.damage(content.place(home, one), one)
        if why is not None:
            wrong.append(Damage(path=one.path, sha256=one.sha256, problem=why))
    if content.digest(listed) != found.digest:
        wrong.append(Damage(path="", sha256=found.digest, problem="the list of files is not what was promoted"))
    return VerifiedVersion(
        name=name,
        version=found.version,
        digest=found.digest,
        ok=not wrong,
        n_files=len(listed),
        size=found.size,
        damaged=wrong,
    )


# --- aliases ----------------------------------------------------------------------------------------------------


async def set_alias(session: AsyncSession, name: str, alias: str, asked: AliasRequest) -> AliasView:
    """Point an alias at a version; see `aliases.point`.

    Raises:
        NotFound: there is no such family or version.
    """
    await family(session, name, lock=True)
    return await aliases.point(session, await version(session, name, asked.version), alias, asked.actor, asked.reason)


async def history(session: AsyncSession, name: str, paging: Paging) -> Page[Move]:
    """A page of the moves of a family's aliases, newest first."""
    return await aliases.history(session, (await family(session, name)).number, paging)
