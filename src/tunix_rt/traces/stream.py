"""Importing a file of any size: every line accounted for, one batch in memory at most."""

import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson

from tunix_rt.base import jsontext
from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.base.store import naming_full_disk
from tunix_rt.base.tasks import undisturbed
from tunix_rt.traces import importers
from tunix_rt.traces.batch_counts import BatchCounts
from tunix_rt.traces.format import NO_SOURCE
from tunix_rt.traces.importers import fields
from tunix_rt.traces.intake import Inserted, Row, checked, insert
from tunix_rt.traces.schemas import ImportReport, Rejected

OnError = Literal["stop", "skip"]
BATCH_TRACES = 1_000
BATCH_CHARACTERS = 8 * 2**20
SHOWN = 100
HELD_CHARACTERS = 8 * 2**20


@dataclass
class Tally:
    """What became of the lines of a file."""

    format: str | None
    opening: bytes = b""  # how the first line that is not blank begins
    lines: int = 0
    blank: int = 0
    good: int = 0
    sources: set[str | None] = field(default_factory=set)  # two at most
    rejected_count: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        """Count a bad line; the first ones are kept with their reasons."""
        self.rejected_count += 1
        if len(self.rejected) < SHOWN:
            self.rejected.append(Rejected(line=line, reason=reason))

    def accept(self, row: Row) -> None:
        """Count a good line."""
        self.good += 1
        if len(self.sources) < 2:
            self.sources.add(row.source)

    def report(self, counts: BatchCounts) -> ImportReport:
        """The sums, after the good lines were stored."""
        return ImportReport(
            format=self.format,
            source=(next(iter(self.sources)) or NO_SOURCE) if len(self.sources) == 1 else None,
            created=counts.created,
            already_present=counts.already_present,
            source_set=counts.source_set,
            rejected=self.rejected,
            rejected_count=self.rejected_count,
            lines=self.lines,
            blank=self.blank,
        )


async def bring_in(
    database: Database,
    chunks: AsyncIterable[bytes],
    format: str | None,
    source: str | None,
    on_error: OnError,
    seen: dict[str, None] | None = None,
    default_source: str | None = None,
) -> ImportReport:
    """Import lines from a stream.

    Args:
        database: where to store.
        chunks: the file's bytes.
        format: a name from `importers`; None: told from the first line that any format can read.
        source: see `intake.checked`.
        on_error: `stop`: nothing is stored if any line is bad; `skip`: the good lines are stored.
        seen: gets the digest of each good line in the file's order, those of traces that are there already too.
        default_source: see `intake.checked`.

    Raises:
        BadInput: no format of this name; no line at all; with `stop`, the bad lines.
        Problem: storing failed; its `stored` says how many traces are stored nevertheless.
    """
    if format is not None:
        importers.named(format)
    tally = Tally(format)
    batches = _batches(chunks, tally, source, default_source, seen)
    counts = BatchCounts()
    with counts.in_errors("import"):
        if on_error == "skip":
            async for batch in batches:
                counts.add(len(batch), await keep(database, batch))
            _check_any(tally)
        else:
            with Waiting() as waiting:
                async for batch in batches:
                    if not tally.rejected_count:
                        waiting.add(batch)
                _check_any(tally)
                _check_all(tally)
                for batch in waiting:
                    counts.add(len(batch), await keep(database, batch))
    return tally.report(counts)


class Waiting:
    """Checked batches that wait until the last line is known to be good: the first in memory, the rest in a file."""

    def __init__(self) -> None:
        self._held: list[list[Row]] = []
        self._room = HELD_CHARACTERS
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, batch: list[Row]) -> None:
        """Keep a batch.

        Raises:
            DiskFull: no space for temporary files.
        """
        if self._room > 0:
            self._room -= sum(row.size for row in batch)
            self._held.append(batch)
            return
        with naming_full_disk(Path(tempfile.gettempdir())):
            self._file.write(orjson.dumps([tuple(row) for row in batch]) + b"\n")

    def __iter__(self) -> Iterator[list[Row]]:
        while self._held:
            yield self._held.pop(0)
        with naming_full_disk(Path(tempfile.gettempdir())):
            self._file.seek(0)  # writes what is buffered
        for line in self._file:
            yield [Row(*values) for values in orjson.loads(line)]


async def keep(database: Database, batch: list[Row]) -> Inserted:
    """Store a batch in a transaction of its own, and count what is new."""

    async def work() -> Inserted:
        async with database.write() as session:
            return await insert(session, batch)

    return await undisturbed(work())


async def _batches(
    chunks: AsyncIterable[bytes],
    tally: Tally,
    source: str | None,
    default_source: str | None,
    seen: dict[str, None] | None,
) -> AsyncIterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    async for number, line in jsontext.alines(chunks):
        tally.lines = number
        if line is not None and not line.strip():
            tally.blank += 1
            continue
        tally.opening = tally.opening or (line or b"").strip()[:2]
        try:
            row = _read(line, tally, source, default_source)
        except BadInput as bad:
            tally.reject(number, bad.detail)
            continue
        tally.accept(row)
        if seen is not None:
            seen[row.digest] = None
        batch.append(row)
        size += row.size
        if len(batch) >= BATCH_TRACES or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(line: bytes | None, tally: Tally, source: str | None, default_source: str | None) -> Row:
    if line is None:
        raise BadInput(f"longer than {jsontext.MAX_LINE_BYTES // 2**20} MiB")
    record = jsontext.loads(line)
    if not isinstance(record, dict):
        raise BadInput(f"{fields.kind(record)}, not an object: each line of JSONL is one object")
    if tally.format is None:
        tally.format = importers.detect(record)
    return checked(importers.named(tally.format)(record), source, default_source)


def _check_any(tally: Tally) -> None:
    if tally.lines == tally.blank:
        what = f"only blank lines ({tally.blank})" if tally.blank else "nothing"
        raise BadInput(f"The file holds {what}: there is no trace in it.", hint="Write one JSON object a line.")


def _check_all(tally: Tally) -> None:
    if not tally.rejected_count:
        return
    bad = tally.rejected_count
    hint = "Mend them, or import the good ones with on_error=skip (--on-error skip)."
    if not tally.good and tally.opening.startswith(b"["):
        hint = "The file is one JSON array. Write one object a line: jq -c '.[]' FILE > FILE.jsonl"
    elif not tally.good and tally.opening == b"{":
        hint = "The file is JSON over several lines. Write one object a line: jq -c . FILE > FILE.jsonl"
    raise BadInput(
        f"{bad:,} of {tally.lines:,} lines {'is' if bad == 1 else 'are'} bad; nothing was stored."
        + (f" The first {SHOWN} are shown." if bad > SHOWN else ""),
        hint=hint,
        faults=[Fault(f"line {one.line}", one.reason) for one in tally.rejected],
    )
