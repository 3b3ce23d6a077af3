"""The web app as the server gives it out, and its description of the API."""

import gzip
import os
import runpy
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tunix_rt import web
from tunix_rt.app import create_app
from tunix_rt.base import http
from tunix_rt.base.settings import Settings

TOP = Path(__file__).parents[1]
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = b"console.log('the app');" * 40


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built app."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>the app")
    (tmp_path / "docs.html").write_text("<!doctype html>the API")
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "theme.js").write_text("// theme")
    return tmp_path


@pytest.fixture
async def client(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with a route, and the app beneath it."""
    app = FastAPI(docs_url=None, redoc_url=None)
    app.router.route_class = http.StrictRoute
    app.state.settings = Settings(home=built)
    http.install(app, lambda *_: None)

    @app.get("/api/here")
    async def here() -> dict[str, bool]:
        return {"here": True}

    @app.post("/api/sent")
    async def sent() -> None: ...

    web.mount(app, built)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as found:
        yield found


async def test_the_start_and_every_page_are_the_app(client: httpx.AsyncClient) -> None:
    for path in ("/", "/runs", "/runs/019ab3f2?tab=logs&x=1", "/no/such/page"):
        answer = await client.get(path, headers=PAGE)
        assert (answer.status_code, answer.text) == (200, "<!doctype html>the app")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert (await client.head("/", headers=PAGE)).status_code == 200


async def test_the_api_is_never_answered_with_the_app(client: httpx.AsyncClient) -> None:
    for path in ("/api/nothing", "/api", "/api/", "/metrics/x", "/docs/x"):
        answer = await client.get(path, headers=PAGE)
        assert answer.headers["content-type"] == "application/problem+json", path
        assert answer.status_code == 404
    assert (await client.get("/api/here", headers=PAGE)).json() == {"here": True}
    assert (await client.get("/api/sent", headers=PAGE)).status_code == 405


async def test_the_description_of_the_api_is_a_page_under_the_apps_policy(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/", headers=PAGE)).headers["content-security-policy"]
    for headers in (PAGE, {}):  # programs may load it too
        answer = await client.get("/docs", headers=headers)
        assert (answer.status_code, answer.text) == (200, "<!doctype html>the API")
        assert answer.headers["content-security-policy"] == policy
    assert (await client.get("/redoc", headers=PAGE)).status_code == 404


async def test_who_does_not_ask_for_a_page_is_told_that_there_is_nothing(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", "/nothing"), ("POST", "/"), ("PUT", "/runs"), ("GET", "/assets/gone-1.js")):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


async def test_what_bears_its_content_in_its_name_is_kept_for_ever(client: httpx.AsyncClient) -> None:
    answer = await client.get("/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert (answer.content, answer.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    again = await client.get("/assets/index-abc.js", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/theme.js")).headers["cache-control"] == "no-cache"


async def test_files_are_sent_packed_to_those_who_take_that(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/assets/index-abc.js", headers={"accept-encoding": "br, gzip"}) as answer:
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "accept-encoding")
        packed = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert (len(packed) < len(SCRIPT), gzip.decompress(packed)) == (True, SCRIPT)
    refused = await client.get("/assets/index-abc.js", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


async def test_nothing_outside_of_the_built_app_is_given_out(client: httpx.AsyncClient, built: Path) -> None:
    (built.parent / "secret.txt").write_text("secret")
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", f"/{built.parent}/secret.txt"):
        assert "secret" not in (await client.get(path, headers=PAGE)).text


async def test_an_app_that_was_built_anew_is_taken_up(client: httpx.AsyncClient, built: Path) -> None:
    assert "the app" in (await client.get("/", headers=PAGE)).text
    (built / "index.html").write_text("another")
    os.utime(built / "index.html", ns=(1, 1))
    assert (await client.get("/", headers=PAGE)).text == "another"


async def test_without_a_built_app_the_start_says_how_to_build_it(tmp_path: Path) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    web.mount(app, tmp_path / "nothing")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for path in ("/", "/docs"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "make web" in answer.text
            assert "/openapi.json" in answer.text


def test_the_description_that_the_types_are_made_from_is_the_apis_own() -> None:
    made: str = runpy.run_path(str(TOP / "web" / "openapi.py"))["document"]()
    assert (TOP / "web" / "openapi.json").read_text() == made, "it is not: run make openapi"


async def test_the_real_application_serves_it_beneath_everything_else(settings: Settings) -> None:
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.get("/", headers=PAGE)).headers["content-type"].startswith("text/html")
        assert (await client.get("/api/health", headers=PAGE)).json()["status"] == "healthy"
        assert (await client.get("/nothing")).status_code == 404
