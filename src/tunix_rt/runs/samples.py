"""What a training answered as it went on: the `sample` events of its folder, read when they are asked for.

They stay in events.jsonl, which whoever serves a run's files has. A file is read whole where it has changed: a million
steps take about a second, ten thousand samples a tenth of it; the newest few files are remembered.
"""

import base64
import binascii
import json
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunix_rt.base.errors import BadInput, Fault, cut
from tunix_rt.base.http import Page, Pagination
from tunix_rt.base.times import parse_utc
from tunix_rt.runs.schemas import SampleView

_MARK = b'"sample"'


def page(folder: Path, limit: int, cursor: str | None) -> Page[SampleView]:
    """Samples of a run, the newest step first and the prompts of a step in their order; none is fine.

    Args:
        folder: the run's.
        limit: most samples of a page.
        cursor: place from an earlier page; samples that were added since stand before it.

    Raises:
        BadInput: the cursor is none of this list.
    """
    path, after = folder / "events.jsonl", None if cursor is None else _place(cursor)
    try:
        known = path.stat()
    except FileNotFoundError:
        return Page(data=[], pagination=Pagination(limit=limit, next_cursor=None))
    found = [(place, sample) for place, sample in _read(path, known.st_ino, known.st_size) if _follows(place, after)]
    shown = found[:limit]
    more = _cursor(shown[-1][0]) if len(found) > limit else None
    return Page(data=[sample for _, sample in shown], pagination=Pagination(limit=limit, next_cursor=more))


_Place = tuple[int, int]
"""A sample's step, and its prompt's place among those of the run, from 0."""


@lru_cache(maxsize=4)
def _read(path: Path, _inode: int, size: int) -> tuple[tuple[_Place, SampleView], ...]:
    prompts: dict[str, int] = {}
    found: dict[_Place, SampleView] = {}
    with path.open("rb") as file:
        while file.tell() < size and (line := file.readline()).endswith(b"\n"):
            if _MARK in line and (sample := _sample(line)) is not None:
                number = prompts.setdefault(sample.prompt, len(prompts))
                found[sample.step, number] = sample  # of a step that was done again, the later one
    return tuple(sorted(found.items(), key=lambda item: (-item[0][0], item[0][1])))


def _sample(line: bytes) -> SampleView | None:
    """The sample that a line tells; None where it tells something else, or is not as `spec/formats.md` has it."""
    try:
        event: Any = json.loads(line)
        if event["event"] != "sample":
            return None
        said = {name: event.get(name) for name in SampleView.model_fields}
        return SampleView.model_validate(said | {"created_at": _time(event.get("time"))})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ValidationError):
        return None


def _time(text: Any) -> datetime | None:
    try:
        return parse_utc(text, zone_required=True)
    except ValueError:
        return None


def _follows(place: _Place, after: _Place | None) -> bool:
    return after is None or (-place[0], place[1]) > (-after[0], after[1])


def _cursor(place: _Place) -> str:
    return base64.urlsafe_b64encode("|".join(map(str, place)).encode()).decode()


def _place(cursor: str) -> _Place:
    try:
        step, number = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").split("|")
        return int(step), int(number)
    except (ValueError, binascii.Error):
        raise BadInput(
            f"The cursor {cut(cursor, 60)!r} is not one that this list gave.",
            hint="Leave `cursor` out to start from the newest.",
            faults=[Fault("cursor", "not a cursor")],
        ) from None
