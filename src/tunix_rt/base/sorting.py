"""Lists in the order of a column that the caller names, page by page; without one they are newest first.

What has no value comes last, both ways, and among equals the newest is first. A place in the list is a row's value and
its id: no row is skipped or repeated while others arrive.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Query
from sqlalchemy import ColumnElement, Select, String, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from tunix_rt.base.db import Utc
from tunix_rt.base.errors import BadInput, Fault, cut, nearest
from tunix_rt.base.http import Page, Pagination, Paging
from tunix_rt.base.times import parse_utc

T = TypeVar("T")
Rows = Select[*tuple[Any, ...]]


class Sorting:
    """A caller's order and his place in it.

    Args:
        sort: name of a column, with a `-` before it for the largest first.
        limit: rows of a page, 1 to 200.
        cursor: opaque place from an earlier page of the same order.

    Raises:
        BadInput: the cursor is not one of ours.
    """

    def __init__(self, sort: str, limit: int = 20, cursor: str | None = None) -> None:
        self.sort, self.limit = sort, limit
        self.name, self.descending = sort.removeprefix("-"), sort.startswith("-")
        self.after: tuple[str | float | None, uuid.UUID] | None = None
        if cursor is not None:
            try:
                order, value, identity = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
                self.after = value, uuid.UUID(identity)
            except (ValueError, TypeError, AttributeError, binascii.Error):
                raise _not_ours(cursor) from None
            if order != sort:
                raise _not_ours(cursor)

    def column(self, columns: Mapping[str, Any]) -> Any:
        """The column that is named.

        Raises:
            BadInput: there is none.
        """
        if self.name not in columns:
            raise BadInput(
                f"No order named {cut(self.name, 60)!r}.{nearest(self.name, columns)}",
                hint=f"Sort by one of {', '.join(columns)}; with a - before it, the largest first.",
                faults=[Fault("sort", "unknown order")],
            )
        return columns[self.name]

    def over(self, statement: Rows, by: Any, identity: InstrumentedAttribute[uuid.UUID]) -> Rows:
        """The statement for this page and one row more; the last column of each row is what it is sorted by."""
        nullable = getattr(getattr(by, "expression", by), "nullable", True)
        if self.after is not None:
            value, last = _fitting(self.after[0], by), self.after[1]
            absent = and_(by.is_(None), identity < last)
            if value is not None:
                beyond = by < value if self.descending else by > value
                absent = or_(beyond, and_(by == value, identity < last), *([by.is_(None)] if nullable else []))
            statement = statement.where(absent)
        order: list[ColumnElement[Any]] = [by.is_(None)] if nullable else []  # else an index has the order
        order += [by.desc() if self.descending else by.asc(), identity.desc()]
        return statement.add_columns(by.label("sorted_by")).order_by(*order).limit(self.limit + 1)

    def page(self, rows: Sequence[T], keys: Sequence[tuple[Any, uuid.UUID]]) -> Page[T]:
        """Make a page of up to `limit` + 1 rows; `keys` are the values that they are sorted by, and their ids."""
        cursor = None
        if len(rows) > self.limit:
            value, identity = keys[self.limit - 1]
            cursor = base64.urlsafe_b64encode(orjson.dumps([self.sort, value, str(identity)])).decode()
        return Page(data=list(rows[: self.limit]), pagination=Pagination(limit=self.limit, next_cursor=cursor))


def _not_ours(cursor: str) -> BadInput:
    return BadInput(
        f"The cursor {cut(cursor, 60)!r} is not one that this list gave in this order.",
        hint="Leave `cursor` out to start from the first row.",
        faults=[Fault("cursor", "not a cursor")],
    )


def _fitting(value: Any, by: Any) -> Any:
    """The value as the column compares it: whoever makes cursors of his own gets an error and not the database's."""
    if isinstance(by.type, Utc):
        try:
            value = None if value is None else parse_utc(value, zone_required=True)
            fits = True
        except ValueError:
            fits = False
    elif isinstance(by.type, String):
        fits = isinstance(value, str) and "\0" not in value
    else:
        fits = isinstance(value, int | float) and abs(value) < 2**63
    if value is not None and not fits:
        raise _not_ours(str(value))
    return value


async def _sorted(
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    sort: Annotated[
        str | None,
        Query(min_length=1, max_length=120, description="name of a column, with a - before it the largest first"),
    ] = None,
) -> Paging | Sorting:
    return Paging(limit, cursor) if sort is None else Sorting(sort, limit, cursor)


Sorted = Annotated[Paging | Sorting, Depends(_sorted)]
"""As `http.Paged`, and in an order of the caller's."""
