"""Ids as people write them: whole, or any unique beginning of 6 or more digits."""

import re
import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tunix_rt.base.errors import BadInput, Conflict, NotFound, cut


async def resolve(session: AsyncSession, column: InstrumentedAttribute[uuid.UUID], text: str, what: str) -> uuid.UUID:
    """Find the id that `text` is, or begins.

    Args:
        session: where.
        column: the ids that there are; indexed.
        text: 6 to 32 hexadecimal digits, dashes wherever they are.
        what: the word for what bears the id.

    Raises:
        BadInput: it cannot be an id.
        NotFound: no id begins with it.
        Conflict: several do.
    """
    digits = text.lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{6,32}", digits):
        raise BadInput(
            f"{cut(text, 60)!r} is not the id of a{'n' if what[0] in 'aeiou' else ''} {what}.",
            hint="An id is 32 hexadecimal digits; its first 6 or more do where nothing else begins with them.",
        )
    low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    found = (await session.scalars(select(column).where(column.between(low, high)).order_by(column).limit(3))).all()
    if not found:
        raise NotFound(f"There is no {what} {cut(text, 100)!r}.")
    if len(found) > 1:
        raise Conflict(
            f"Several {what}s begin with {text!r}: {', '.join(str(one) for one in found)}"
            + (", …" if len(found) > 2 else "."),
            hint="Give more digits.",
        )
    return found[0]
