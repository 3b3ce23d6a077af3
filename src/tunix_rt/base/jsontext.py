"""Strict JSON in, compact JSON out: the one parser for every byte that crosses our boundary.

The standard parser accepts what no other reader of our files would: NaN, infinity, lone surrogates, NUL, repeated
keys (of which it drops all but the last) and integers of any size. Here each is an error that says what and where.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

import orjson

from tunix_rt.base.errors import BadInput, cut

INT64 = 2**63
MAX_LINE_BYTES = 64 * 2**20
MAX_DEPTH = 128  # orjson writes 254 levels at most, and PostgreSQL reads as many as its stack holds


class NotJson(BadInput):
    """The text is not JSON as we accept it; `detail` says why and at which character."""

    code, title = "not_json", "Not JSON"


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise NotJson(f"the number {cut(digits, 30)} does not fit into 64 bits")
    value = int(digits)
    if not -INT64 <= value < INT64:
        raise NotJson(f"the number {digits} does not fit into 64 bits")
    return value


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotJson(f"the number {cut(digits, 30)} is too large")
    return value


def _constant(name: str) -> None:
    raise NotJson(f"{name} is not JSON; leave the value out or write null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # set.add as a step of the search
        raise NotJson(f"the key {cut(twice, 60)!r} stands twice in one object")
    return found


_decoder = json.JSONDecoder(
    parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object, strict=True
)


def loads(data: bytes | str) -> Any:
    """Parse one JSON document.

    Raises:
        NotJson: wrong UTF-8, syntax, NaN or infinity, an integer past int64, a repeated key, NUL, a lone
            surrogate, or nesting too deep.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise NotJson(f"not UTF-8: byte 0x{byte:02x} at position {error.start}") from None
    if text.startswith("\ufeff"):
        text = text[1:]
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        cut_off = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        end = " (is the text cut off?)" if cut_off else ""
        raise NotJson(f"{error.msg.removesuffix(' at')} at character {error.pos + 1}{end}") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    # An escape is the only way to smuggle these in: raw surrogates are not UTF-8, raw NUL is refused by `strict`.
    if "\\u" in text:
        _check_characters(value)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inside.extend(item.values())
            elif isinstance(item, list):
                inside.extend(item)
        if not inside:
            return
        level = inside
    if any(isinstance(item, dict | list) for item in level):
        raise NotJson(f"nested too deeply: over {MAX_DEPTH} levels")


def _check_characters(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\x00" in item:
                raise NotJson("a text holds NUL (\\u0000), which no database keeps")
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise NotJson(f"a text holds the lone surrogate \\u{ord(item[error.start]):04x}") from None
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def dumps(value: Any) -> bytes:
    """Write compact JSON as UTF-8, keys in their given order. The value must hold no NaN."""
    return orjson.dumps(value)


class _Splitter:
    """Cuts a stream of bytes into lines; a line over the limit is skipped without being held in memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0
        self.number = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._keep(chunk[start:end])
            yield self._line()
            start = end + 1
        self._keep(chunk[start:])

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        if self.size:
            yield self._line()

    def _keep(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= self.limit:
            self.parts.append(part)
        else:
            self.parts.clear()

    def _line(self) -> tuple[int, bytes | None]:
        self.number += 1
        line = b"".join(self.parts) if self.size <= self.limit else None
        self.parts, self.size = [], 0
        if line is not None and self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        return self.number, line


def lines(chunks: Iterable[bytes], limit: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """Cut bytes into lines at `\\n` alone, holding one line in memory at most.

    Args:
        chunks: the bytes, in pieces of any size.
        limit: longest line in bytes.

    Yields:
        The line's number from 1, and its bytes without the newline; None for a line over the limit.
    """
    splitter = _Splitter(limit)
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.end()


async def alines(chunks: AsyncIterable[bytes], limit: int = MAX_LINE_BYTES) -> AsyncIterator[tuple[int, bytes | None]]:
    """`lines` over an asynchronous stream."""
    splitter = _Splitter(limit)
    async for chunk in chunks:
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.end():
        yield line
