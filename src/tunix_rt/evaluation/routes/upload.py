"""What the routes of the evaluation share: an upload as a file, and the patterns of what stands in a query."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Annotated, cast

from fastapi import Query

from tunix_rt.base.store import naming_full_disk

_PLAIN = r"^[^\x00-\x1f\x7f]+$"  # no control characters: no database keeps NUL
Name = Annotated[str, Query(min_length=1, max_length=200, pattern=_PLAIN)]
Label = Annotated[str | None, Query(min_length=1, max_length=200, pattern=_PLAIN)]
JudgeName = Annotated[str, Query(max_length=500)]


@asynccontextmanager
async def spooled(chunks: AsyncIterator[bytes]) -> AsyncIterator[IO[bytes]]:
    """An upload as a file: a small one in memory, a large one on disk for as long as it is read."""
    with tempfile.SpooledTemporaryFile(max_size=16 * 2**20) as file:
        with naming_full_disk(Path(tempfile.gettempdir()) / "upload"):
            async for chunk in chunks:
                file.write(chunk)
        file.seek(0)
        yield cast("IO[bytes]", file)
