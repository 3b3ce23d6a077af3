"""A version as a zip, made while it is sent: the same bytes each time, since names are in order and times are fixed."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunix_rt.registry import content
from tunix_rt.registry.schemas import ModelFile

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_UNIX, _MODE = 3, 0o100644 << 16
_LARGE_BYTES = 2**31 - 2**20


class _Sink:
    """Takes what a zip writes, until it is sent."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:
        self.held += data
        return len(data)

    def flush(self) -> None:
        """Nothing is further down."""

    def taken(self) -> bytes:
        found = bytes(self.held)
        self.held.clear()
        return found


def stream(home: Path, folder: str, files: Sequence[ModelFile]) -> Iterator[bytes]:
    """The zip, a piece at a time; weights do not shrink, so nothing is compressed.

    Args:
        home: where the store is.
        folder: what everything lies in within the zip.
        files: of the version, by path.

    Raises:
        Failed: a stored file is damaged: the zip breaks off before its end, and nobody can take it for whole.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # it asks for no more than write and flush
        for file in files:
            about = zipfile.ZipInfo(f"{folder}/{file.path}", _EPOCH)
            about.create_system, about.external_attr = _UNIX, _MODE
            with archive.open(about, "w", force_zip64=file.size >= _LARGE_BYTES) as member:
                for piece in content.pieces(content.place(home, file), file):
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()
