"""A file of traces as a data set: imported, then sealed as exactly those, in the file's order."""

from collections.abc import AsyncIterable

from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput
from tunix_rt.base.tasks import undisturbed
from tunix_rt.datasets import seal, service
from tunix_rt.datasets.schemas import BuildRequest, Ingested
from tunix_rt.traces import stream
from tunix_rt.traces.batch_counts import BatchCounts
from tunix_rt.traces.schemas import ImportReport


async def ingest(
    database: Database,
    chunks: AsyncIterable[bytes],
    request: BuildRequest,
    format: str | None,
    source: str | None,
    on_error: stream.OnError,
) -> tuple[Ingested, bool]:
    """Import a file and build a data set of its traces, those that were there before among them.

    Args:
        database: where to store.
        chunks: the file's bytes.
        request: the data set's name, version and splits.
        format: see `stream.bring_in`.
        source: see `stream.bring_in`.
        on_error: see `stream.bring_in`.

    Returns:
        The version with the import's report, and whether it is new.

    Raises:
        BadInput: see `stream.bring_in`; no line is good; a split stays empty.
        Conflict: the key exists with other content.
        Problem: storing failed; its `stored` counts the imported traces, which stay.
    """
    digests: dict[str, None] = {}
    report = await stream.bring_in(database, chunks, format, source, on_error, seen=digests)
    if not digests:
        raise _nothing_good(report)

    async def work() -> tuple[Ingested, bool]:
        async with database.write() as session:
            chosen = await seal.listed(session, request, list(digests))
            dataset, created = await seal.seal(session, request, chosen)
            return Ingested(**service.manifest(dataset).model_dump(), ingested=report), created

    imported = BatchCounts(report.created, report.already_present)
    with imported.in_errors("import", missing="data set"):
        return await undisturbed(work())


def _nothing_good(report: ImportReport) -> BadInput:
    first = report.rejected[0]
    return BadInput(
        f"Dataset is empty: all {report.rejected_count:,} lines are bad. Line {first.line}: {first.reason}",
        hint="Mend the lines, or name the file's format with ?format=.",
    )
