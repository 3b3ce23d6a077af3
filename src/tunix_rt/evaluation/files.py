"""Eval sets and predictions as files: JSONL in, every bad line named; and the digest of an eval set."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import rfc8785
from pydantic import BaseModel, ValidationError

from tunix_rt.base import jsontext
from tunix_rt.base.errors import BadInput, Fault, NotFound, cut
from tunix_rt.evaluation.schemas import EvalItemLine, PredictionLine

_Line = TypeVar("_Line", bound=BaseModel)
_Key = TypeVar("_Key", bound=Hashable)
_FAULTS = 100  # bad lines that are told one by one
_NAMED = 10  # lines that contradict an earlier one, named one by one
MAX_META_BYTES = 64 * 2**10


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(2**18):
        yield chunk


def explain(error: ValidationError) -> str:
    """What is wrong with a document, field by field."""
    reasons = []
    for item in error.errors(include_url=False)[:3]:
        where = ".".join(str(part) for part in item["loc"])
        reasons.append(f"{cut(where if where.isprintable() else repr(where), 60)}: {item['msg']}")
    return "; ".join(reasons)


def _parse(content: bytes | None, kind: type[_Line]) -> _Line | str:
    """One line as what it should be, or the reason why it is not."""
    if content is None:
        return f"the line is longer than {jsontext.MAX_LINE_BYTES:,} bytes"
    try:
        value = jsontext.loads(content)
    except jsontext.NotJson as error:
        return error.detail
    if not isinstance(value, dict):
        return "not a JSON object; one object a line is expected"
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        return explain(error)


def _read(file: IO[bytes], kind: type[_Line], what: str, check: Callable[[_Line, int], str | None]) -> list[_Line]:
    found: list[_Line] = []
    faults: list[Fault] = []
    bad = 0
    for number, content in jsontext.lines(_chunks(file)):
        if content is not None and not content.strip():
            continue
        line = _parse(content, kind)
        reason = line if isinstance(line, str) else check(line, number)
        if reason is not None:
            bad += 1
            if len(faults) < _FAULTS:
                faults.append(Fault(f"line {number}", reason))
        elif not isinstance(line, str):
            found.append(line)
    if bad:
        count = "1 line is" if bad == 1 else f"{bad:,} lines are"
        raise BadInput(f"{count} not {what}; nothing was stored.", faults=faults)
    if not found:
        raise BadInput("Nothing is in the file.", faults=[Fault("line 1", f"there should be {what}")])
    return found


def _meta_fault(meta: dict[str, Any]) -> str | None:
    try:
        size = len(jsontext.dumps(meta))
        rfc8785.dumps(meta)
    except TypeError:  # orjson stops at a depth of 254, the databases' JSON with it
        return "meta is nested too deeply"
    except rfc8785.CanonicalizationError as error:  # an integer that not every reader of JSON would read as it is
        return f"meta: {error}"
    return f"meta is over {MAX_META_BYTES:,} bytes" if size > MAX_META_BYTES else None


def eval_items(file: IO[bytes]) -> list[EvalItemLine]:
    """Read an eval set.

    Raises:
        BadInput: bad lines (all of them, as `line N`), an id that stands twice, or nothing at all.
    """
    seen: dict[str, int] = {}

    def check(item: EvalItemLine, number: int) -> str | None:
        first = seen.setdefault(item.id, number)
        if first != number:
            return f"the id {cut(item.id, 60)!r} stands in line {first} already"
        return _meta_fault(item.meta) if item.meta else None

    return _read(file, EvalItemLine, "an item of an eval set {id, prompt, expected_answer, ...}", check)


@dataclass(frozen=True)
class Predictions:
    """What was answered to an eval set.

    Attributes:
        digest: `sha256:` of the bytes of the file.
        lines: the predictions, in the order of the file.
        decoding: the digest of their decoding, as the lines name it; None where they name none.
    """

    digest: str
    lines: Sequence[PredictionLine]
    decoding: str | None = None

    @cached_property
    def by_id(self) -> dict[str, dict[int, list[int]]]:
        """For each id and sample the indices of its lines: one, but for files stored by earlier versions."""
        found: dict[str, dict[int, list[int]]] = {}
        for index, line in enumerate(self.lines):
            found.setdefault(line.id, {}).setdefault(line.sample, []).append(index)
        return found

    @cached_property
    def samples(self) -> int:
        """Answers an item: the highest `sample`, and one."""
        return 1 + max(line.sample for line in self.lines)


def predictions(file: IO[bytes]) -> Predictions:
    """Read predictions.

    Raises:
        BadInput: bad lines, a repeated (id, sample), lines that name different decodings, or nothing at all.
    """
    lines, numbers = _numbered(file, PredictionLine, "a prediction {id, output, ...}")
    _check_repeats(
        [(line.id, line.sample) for line in lines],
        numbers,
        lambda key: f"id {cut(key[0], 60)!r} (sample {key[1]})",
        'Give each answer once. Several answers to an item take "sample": 0, 1, 2, ...; a line without it is sample 0.',
    )
    _check_decodings(lines, numbers)
    file.seek(0)
    digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # any binary file will do
    return Predictions(digest, lines, lines[0].decoding)


def unique_lines(file: IO[bytes], kind: type[_Line], what: str, key: Callable[[_Line], str]) -> list[_Line]:
    """Read lines of another kind, each with a key of its own.

    Raises:
        BadInput: bad lines (all of them, as `line N`), a repeated key, or nothing at all.
    """
    lines, numbers = _numbered(file, kind, what)
    keys = [key(line) for line in lines]
    _check_repeats(keys, numbers, lambda name: f"id {cut(name, 60)!r}", "Give each line an id of its own.")
    return lines


def _numbered(file: IO[bytes], kind: type[_Line], what: str) -> tuple[list[_Line], list[int]]:
    """Lines with their numbers in the file."""
    numbers: list[int] = []

    def check(_line: _Line, number: int) -> None:
        numbers.append(number)

    return _read(file, kind, what, check), numbers


def _check_repeats(keys: Sequence[_Key], numbers: Sequence[int], describe: Callable[[_Key], str], hint: str) -> None:
    """Refuse lines whose key an earlier line has: a second line would choose among answers, or count one twice."""
    first: dict[_Key, int] = {}
    faults = []
    for key, number in zip(keys, numbers, strict=True):
        if (earlier := first.setdefault(key, number)) != number:
            faults.append(Fault(f"line {number}", f"repeats {describe(key)}, first on line {earlier}"))
    if faults:
        count = "1 line repeats" if len(faults) == 1 else f"{len(faults):,} lines repeat"
        shown = f" The first {_NAMED} are:" if len(faults) > _NAMED else ""
        raise BadInput(
            f"{count} an answer that an earlier line gives; nothing was stored.{shown}",
            hint=hint,
            faults=faults[:_NAMED],
        )


def _check_decodings(lines: Sequence[PredictionLine], numbers: Sequence[int]) -> None:
    """Refuse lines that name another decoding than the first one, or none where it names one."""
    expected = lines[0].decoding
    faults = [
        Fault(f"line {number}", f"names {line.decoding or 'no decoding'}; line {numbers[0]} names {expected or 'none'}")
        for line, number in zip(lines, numbers, strict=True)
        if line.decoding != expected
    ]
    if faults:
        count = "1 line was" if len(faults) == 1 else f"{len(faults):,} lines were"
        shown = f" The first {_NAMED} are:" if len(faults) > _NAMED else ""
        raise BadInput(
            f"{count} decoded in another way than line {numbers[0]}; nothing was stored.{shown}",
            hint="Evaluate the predictions of each decoding as a file of their own.",
            faults=faults[:_NAMED],
        )


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of the user's.

    Raises:
        NotFound: there is none. BadInput: it cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", hint=f"You are in {Path.cwd()}.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, not a file.") from None
    except PermissionError:
        raise BadInput(f"{path} may not be read.", hint=f"See its permissions: ls -l {path}") from None
    with file:
        yield file


@contextmanager
def naming(**paths: Path) -> Iterator[None]:
    """Put what is wrong with a file into the user's terms: `line N` becomes `file:N`.

    Args:
        paths: the file that each upload of a form is; `body` for one that is the whole body.
    """
    try:
        yield
    except BadInput as bad:
        places = [fault.pointer.rpartition("line ") for fault in bad.faults]
        uploads = {before.removesuffix(": ") or "body" for before, found, _ in places if found}
        path = paths.get(uploads.pop()) if len(uploads) == 1 else None
        if path is None:
            raise
        faults = [Fault(f"{path}:{place[2]}", fault.detail) for place, fault in zip(places, bad.faults, strict=True)]
        raise BadInput(f"{path}: {bad.detail}", hint=bad.hint, faults=faults) from None


def about(upload: str, bad: BadInput) -> BadInput:
    """Say which upload of a form a problem is about."""
    faults = [Fault(f"{upload}: {fault.pointer}", fault.detail) for fault in bad.faults]
    return BadInput(bad.detail, hint=bad.hint, faults=faults)


def read_eval_set(path: Path) -> list[EvalItemLine]:
    """Read an eval set from a file of the user's.

    Raises:
        NotFound: there is none. BadInput: it is not an eval set.
    """
    with opened(path) as file, naming(body=path):
        return eval_items(file)


def digest(items: Iterable[EvalItemLine]) -> str:
    """The identity of an eval set: `sha256:` of the canonical JSON (RFC 8785) of the array of its items, in order.

    Each item counts with all that it has; `meta` too, since judges read it: options, patterns, tolerances.
    """
    sha = hashlib.sha256(b"[")
    for place, item in enumerate(items):
        sha.update(b"," if place else b"")
        sha.update(rfc8785.dumps(item.model_dump(exclude=None if item.meta else {"meta"}, exclude_none=True)))
    sha.update(b"]")
    return "sha256:" + sha.hexdigest()
