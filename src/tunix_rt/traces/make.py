"""Generating traces from a source: made and verified in a thread, stored in batches."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
from pydantic import ValidationError

from tunix_rt.base import jsontext
from tunix_rt.base.db import Database
from tunix_rt.base.errors import BadInput, Failed, Fault, Problem, cut
from tunix_rt.traces import sources
from tunix_rt.traces.batch_counts import BatchCounts
from tunix_rt.traces.intake import Row, checked
from tunix_rt.traces.schemas import GenerateBody, Generated, SourceOut, Sources
from tunix_rt.traces.stream import keep

BATCH = 500


def listed() -> Sources:
    """The sources that are installed; one that is broken is listed with what is wrong, and hides no other."""
    return Sources(data=[_described(name) for name in sources.names()])


def _described(name: str) -> SourceOut:
    try:
        source = sources.load(name)
    except Problem as problem:
        return SourceOut(name=name, description="", options={}, problem=problem.detail)
    return SourceOut(
        name=name, description=source.description, options=source.options.model_json_schema(), problem=None
    )


async def generate(database: Database, body: GenerateBody) -> Generated:
    """Generate and store; the same request again finds all of its traces present.

    Raises:
        NotFound: no such source.
        BadInput: options that the source does not have, or more traces than it can make.
        Failed: the source made a trace that its own verifier or the format refuses.
        Problem: storing failed; its `stored` says how many traces are stored nevertheless.
    """
    source = await asyncio.to_thread(sources.load, body.source)
    try:
        options = source.options.model_validate(body.options)
    except ValidationError as error:
        faults = [
            Fault("/" + "/".join(str(part) for part in ("options", *item["loc"])), item["msg"])
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        known = ", ".join(source.options.model_fields) or "none"
        raise BadInput(
            f"{faults[0].pointer}: {faults[0].detail}", hint=f"The options of {body.source}: {known}.", faults=faults
        ) from None
    made = await asyncio.to_thread(source.generate, body.count, body.seed, options)
    counts = BatchCounts()
    with counts.in_errors("generation"):
        while rows := await asyncio.to_thread(_take, source, made):
            counts.add(len(rows), await keep(database, rows))
    return Generated(
        source=body.source,
        seed=body.seed,
        count=counts.created + counts.already_present,
        created=counts.created,
        already_present=counts.already_present,
    )


def _take(source: sources.Source[Any], made: Iterator[dict[str, Any]]) -> list[Row]:
    rows = []
    for trace in islice(made, BATCH):
        problems = source.verify(trace)
        if problems:
            raise Failed(f"The source {source.name!r} made a wrong trace: {cut('; '.join(problems))}")
        try:
            # A source is foreign code: what it makes goes through the same gate as a line of a file.
            rows.append(checked(jsontext.loads(orjson.dumps(trace)), source.name))
        except (BadInput, TypeError) as error:
            raise Failed(f"The source {source.name!r} made something that is no trace: {error}") from error
    return rows
