"""What the routes of the evaluation share: uploads as files, and the patterns of what stands in a query."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, cast

from fastapi import Query, Request
from starlette.datastructures import FormData, UploadFile

from tunix_rt.base.errors import BadInput, cut
from tunix_rt.base.http import uploaded
from tunix_rt.base.store import naming_full_disk
from tunix_rt.evaluation import files, sidecar
from tunix_rt.evaluation.schemas import PLAIN
from tunix_rt.evaluation.sidecar import Sidecar

Name = Annotated[str, Query(min_length=1, max_length=200, pattern=PLAIN)]
Label = Annotated[str | None, Query(min_length=1, max_length=200, pattern=PLAIN)]
JudgeName = Annotated[str, Query(max_length=500)]
META = "meta"
"""The field of a form that holds the sidecar of predictions."""


@asynccontextmanager
async def spooled(chunks: AsyncIterator[bytes]) -> AsyncIterator[IO[bytes]]:
    """An upload as a file: a small one in memory, a large one on disk for as long as it is read."""
    with tempfile.SpooledTemporaryFile(max_size=16 * 2**20) as file:
        with naming_full_disk(Path(tempfile.gettempdir()) / "upload"):
            async for chunk in chunks:
                file.write(chunk)
        file.seek(0)
        yield cast("IO[bytes]", file)


@dataclass(frozen=True)
class PredictionsUpload:
    """Uploaded predictions.

    Attributes:
        predictions: as parsed.
        name: of their file, for errors.
        sidecar: what came with them.
        sidecar_name: of its file.
    """

    predictions: files.Predictions
    name: str
    sidecar: Sidecar | None = None
    sidecar_name: str = ""

    def check(self, eval_set: str) -> None:
        """Check that the sidecar belongs to the predictions and an eval set, by digest; see `sidecar.check`."""
        if self.sidecar is not None:
            sidecar.check(self.sidecar, self.sidecar_name, self.predictions, self.name, eval_set)


async def read_predictions(request: Request) -> PredictionsUpload:
    """Read predictions: the body itself, or the file of a form, with the sidecar as its part `meta`.

    Raises:
        BadInput: they are none, or the form holds something else.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with spooled(uploaded(request)) as file:
            return PredictionsUpload(await asyncio.to_thread(files.predictions, file), "the predictions")
    async with request.form(max_files=2, max_fields=8) as form:
        parts = [part for key, part in form.multi_items() if key != META and isinstance(part, UploadFile)]
        if len(parts) != 1:
            raise BadInput(
                "The form holds no file of predictions." if not parts else "The form holds two files of predictions.",
                hint=f"Send one file of predictions, and its {sidecar.SUFFIX} file, if there is one, as field {META}.",
            )
        return await read_form_predictions(form, parts[0], META)


async def read_form_predictions(form: FormData, part: UploadFile, meta: str) -> PredictionsUpload:
    """Read a form's file of predictions, and the sidecar in its field `meta`.

    Raises:
        BadInput: one of the two is not what it should be.
    """
    name = cut(part.filename or "the predictions")
    read = await asyncio.to_thread(files.predictions, part.file)
    beside = form.get(meta)
    if beside is None:
        return PredictionsUpload(read, name)
    sidecar_name = cut(beside.filename or meta) if isinstance(beside, UploadFile) else meta
    content = await beside.read(sidecar.MAX_BYTES + 1) if isinstance(beside, UploadFile) else beside.encode()
    return PredictionsUpload(read, name, sidecar.parse(content, sidecar_name), sidecar_name)
