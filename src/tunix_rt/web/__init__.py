"""The built web app, served from inside the package: files with a long life where their name tells their content.

`web/` in the repository is built into `dist` here (`make web`); the wheel holds it. A path of a page is answered with
the app itself, which shows the page; a path of the API never is.
"""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from tunix_rt.base.security_headers import PAGE_POLICY

DIST = Path(__file__).with_name("dist")
INDEX = "index.html"
DOCS = "docs.html"
COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt"})
_OURS = re.compile(r"/(api|metrics|docs|redoc|openapi\.json)(/|$)")
"""Paths that are not pages of the app. /docs itself has a page of its own."""

HEADERS = {"content-security-policy": PAGE_POLICY}
NOT_BUILT = b"""<!doctype html><html lang="en"><title>Tunix RT</title><body>
<h1>The web app is not built</h1>
<p>The API works; it is described at <a href="/openapi.json">/openapi.json</a>. The page /docs is
built with the web app. To build both, with Node.js 20 and npm:</p>
<pre>make web</pre><p>in the repository, then load this page again.</p></body></html>
"""


@dataclass(frozen=True)
class _File:
    """A file of the app, ready to send."""

    content: bytes
    compressible: bool
    etag: str
    media_type: str
    lasting: bool

    @cached_property
    def packed(self) -> bytes | None:
        """The content as gzip, compressed on first use; None if that is no smaller."""
        packed = gzip.compress(self.content, 9, mtime=0) if self.compressible else self.content
        return packed if len(packed) < len(self.content) else None

    def answer(self, asked: Headers) -> Response:
        """The file, packed where the asker takes that, or word that he has it."""
        headers = HEADERS | {
            "etag": self.etag,
            "vary": "accept-encoding",
            "cache-control": "public, max-age=31536000, immutable" if self.lasting else "no-cache",
        }
        known = [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]
        if self.etag in known:
            return Response(status_code=304, headers=headers)
        gzip_accepted = re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", asked.get("accept-encoding", ""))
        if gzip_accepted and self.packed is not None:
            return Response(self.packed, headers=headers | {"content-encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


class _App(Route):
    """Everything that no other route answers: the app's files, and the app itself for the pages of a browser.

    Args:
        folder: of the built app; what is built anew while we run is taken up.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("/{path:path}", self._answer, methods=["GET"], include_in_schema=False)
        self.folder = folder
        self._files: dict[str, _File] = {}
        self._built = 0

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `Route`; a client of the API gets its 404 as the API says it."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return Match.NONE, {}
        path = get_route_path(scope)
        if _OURS.match(path) and path != "/docs":
            return Match.NONE, {}
        if (
            path not in ("/", "/docs")
            and path[1:] not in self._current()
            and "text/html" not in Headers(scope=scope).get("accept", "")
        ):
            return Match.NONE, {}
        return super().matches(scope)

    async def _answer(self, request: Request) -> Response:
        files, path = self._current(), request.path_params["path"]
        found = files.get(DOCS) if path == "docs" else files.get(path) or files.get(INDEX)
        if found is None:
            return Response(NOT_BUILT, status_code=503, headers={"cache-control": "no-store"}, media_type="text/html")
        return found.answer(request.headers)

    def _current(self) -> dict[str, _File]:
        try:
            built = (self.folder / INDEX).stat().st_mtime_ns
        except OSError:
            built = 0
        if built != self._built:
            self._files = dict(_read(self.folder)) if built else {}
            self._built = built
        return self._files


def _read(folder: Path) -> list[tuple[str, _File]]:
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        media_type = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(name)[0]
        file = _File(
            content=content,
            compressible=path.suffix in COMPRESSED,
            etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            media_type=media_type or "application/octet-stream",
            lasting=name.startswith("assets/"),
        )
        found.append((name, file))
    return found


def is_built(folder: Path = DIST) -> bool:
    """Whether there is a web app to serve."""
    return (folder / INDEX).is_file()


def mount(app: FastAPI, folder: Path = DIST) -> None:
    """Serve the web app beneath everything that the application answers already.

    Args:
        app: with all its other routes.
        folder: of the built app.
    """
    app.router.routes.append(_App(folder))
