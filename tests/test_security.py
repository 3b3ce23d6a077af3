"""Hostile requests at the HTTP boundary: foreign hosts and origins, redirects, and the headers of every answer."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.make import TINY, dataset, run, stored, trace
from tests.runs.system import System
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings

API: dict[str, Any] = json.loads((Path(__file__).parents[1] / "web" / "openapi.json").read_text())
METHODS = ("get", "post", "put", "patch", "delete")
UNSAFE = [(method, path) for path, routes in API["paths"].items() for method in METHODS[1:] if method in routes]
PROBES = ("/api/health", "/api/ready", "/metrics")
FOREIGN = (
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://evil.test"},
    {"origin": "http://localhost:5173"},
    {"origin": "http://localhost.evil.test"},
    {"origin": "http://127.0.0.1"},
    {"origin": "chrome-extension://localhost"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
)
OWN: tuple[dict[str, str], ...] = (
    {},
    {"origin": "http://localhost"},
    {"origin": "http://LOCALHOST:80"},
    {"origin": "http://localhost", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
)

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # no SQL is tested


@pytest.fixture
async def named(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that is reached as rt.example.org, at its address 10.0.0.5."""
    app = create_app(settings.model_copy(update={"allowed_hosts": ("rt.example.org",)}))
    async with app.router.lifespan_context(app), client_of(app, "http://10.0.0.5:8000") as client:
        yield client


def client_of(app: FastAPI, address: str) -> httpx.AsyncClient:
    """A client whose connections arrive at an address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=address)


ALLOWED_HOSTS = (
    *("localhost", "localhost:8000", "LocalHost.:65535", "127.0.0.1", "127.255.255.254:1", "[::1]", "[::1]:8000"),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8000", "rt.example.org", "RT.Example.ORG.:443", "10.0.0.5:8000"),
)
REFUSED_HOSTS = (
    *("10.0.0.6:8000", "128.0.0.1", "[::2]", "0.0.0.0", "2130706433", "127.1", "evil.test", "evil.test:8000"),  # noqa: S104  # hosts
    *("127.0.0.1.evil.test", "localhost.evil.test", "x.localhost", "evil.rt.example.org", "rt.example.org.evil.test"),
    *("rt.example.org..", "", ":8000", "localhost:8000:8000", "localhost:x", "localhost, evil.test", "l\xf6calhost"),
    *("localhost/evil.test", "user@localhost", "evil.test\\@localhost", "[::1", "[localhost]", "[fe80::1%25eth0]"),
)


async def test_only_known_hosts_are_answered(named: httpx.AsyncClient) -> None:
    for host in (*ALLOWED_HOSTS, *REFUSED_HOSTS):
        headers = {b"host": host.encode("latin-1")}
        for path in ("/api/traces", "/openapi.json", "/docs", "/", "/nothing"):
            answer = await named.get(path, headers=headers)
            if host in ALLOWED_HOSTS:
                assert answer.status_code in (200, 404, 503), (host, path)
                continue
            assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host"), (host, path)
            assert "--allowed-hosts" in answer.json()["hint"]
            assert "TUNIX_RT_ALLOWED_HOSTS" in answer.json()["hint"]
        for path in PROBES:
            assert (await named.get(path, headers=headers)).status_code in (200, 503), (host, path)


async def test_several_hosts_are_none(named: httpx.AsyncClient) -> None:
    for hosts in (["localhost", "evil.test"], ["evil.test", "localhost"], ["localhost", "localhost"]):
        answer = await named.get("/api/traces", headers=[("host", host) for host in hosts])
        assert answer.status_code == 421, hosts


async def test_a_page_of_another_origin_changes_nothing_by_any_route(api: httpx.AsyncClient) -> None:
    assert len(UNSAFE) > 20
    for method, path in (*UNSAFE, ("post", "/api/nothing"), ("post", "/api/health"), ("purge", "/")):
        for headers in FOREIGN:
            answer = await api.request(method, path, headers=headers, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin"), (method, path, headers)
    answer = await api.post("/api/traces", headers={"origin": "http://evil.test"}, json=trace(1))
    assert "'http://evil.test'" in answer.json()["detail"]
    assert "--allowed-hosts NAME" in answer.json()["hint"]
    assert (await api.get("/api/traces")).json()["data"] == []


async def test_the_servers_own_pages_and_programs_may_change_what_they_like(api: httpx.AsyncClient) -> None:
    for number, headers in enumerate(OWN):
        assert (await api.post("/api/traces", headers=headers, json=trace(number))).status_code == 201, headers
    for headers in FOREIGN:
        assert (await api.get("/api/traces", headers=headers)).status_code == 200, headers


async def test_a_proxy_may_take_tls_off(named: httpx.AsyncClient) -> None:
    for number, (host, origin, status) in enumerate(
        [
            ("rt.example.org", "https://rt.example.org", 201),
            ("rt.example.org:443", "https://rt.example.org", 201),
            ("rt.example.org:8443", "https://rt.example.org:8443", 201),
            ("rt.example.org", "https://rt.example.org:8443", 403),
            ("rt.example.org", "https://evil.test", 403),
            ("[::1]:8000", "http://[::1]:8000", 201),
        ]
    ):
        headers = {"host": host, "origin": origin, "sec-fetch-site": "same-origin"}
        assert (await named.post("/api/traces", headers=headers, json=trace(number))).status_code == status, host


async def test_a_page_of_http_is_foreign_to_a_server_of_https(settings: Settings) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app, "https://localhost") as client:
        for origin, status in (("https://localhost", 201), ("http://localhost", 403)):
            assert (await client.post("/api/traces", headers={"origin": origin}, json=trace(1))).status_code == status


def _security(answer: httpx.Response) -> dict[str, str]:
    names = ("content-security-policy", "x-content-type-options", "cross-origin-resource-policy", "referrer-policy")
    return {name: ", ".join(answer.headers.get_list(name)) for name in names}


async def test_every_answer_has_the_security_headers(api: httpx.AsyncClient, settings: Settings) -> None:
    [trace_id] = await stored(api, trace(1))
    await dataset(api)
    [unused_id] = await stored(api, trace(3))
    run_id = await run(api)
    folder = settings.home / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(TINY))
    file = f"/api/tunix/runs/{run_id}/artifacts/config.json"
    etag = (await api.get(file)).headers["etag"]
    requests: list[tuple[int, str, str, dict[str, Any]]] = [
        (200, "GET", f"/api/traces/{trace_id}", {}),
        (200, "GET", "/api/traces/export.jsonl", {}),
        (200, "GET", "/openapi.json", {}),
        (200, "GET", "/metrics", {}),
        (200, "GET", file, {}),
        (206, "GET", file, {"headers": {"range": "bytes=0-1"}}),
        (304, "GET", file, {"headers": {"if-none-match": etag}}),
        (416, "GET", file, {"headers": {"range": "bytes=999999-"}}),
        (201, "POST", "/api/traces", {"json": trace(2)}),
        (204, "DELETE", f"/api/traces/{unused_id}", {}),
        (403, "POST", "/api/traces", {"headers": {"origin": "null"}}),
        (404, "GET", "/nothing", {}),
        (405, "DELETE", "/api/traces", {}),
        (405, "OPTIONS", "/api/traces", {"headers": {"origin": "null"}}),
        (413, "POST", "/api/traces", {"content": b" " * (2**20 + 1)}),
        (421, "GET", "/api/traces", {"headers": {"host": "evil.test"}}),
        (422, "POST", "/api/traces", {"content": b"{"}),
    ]
    for status, method, path, sent in requests:
        answer = await api.request(method, path, **sent)
        assert answer.status_code == status, (method, path, answer.text)
        headers = _security(answer)
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "sandbox"} <= set(policy), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        if status in (200, 206) and path == file:
            assert answer.headers["content-disposition"].startswith("attachment;")


async def test_no_path_is_redirected(named: httpx.AsyncClient) -> None:
    for path in (
        "/api/traces/",
        "/api/health/",
        "/api/tunix/runs/",
        "/docs/",
        "/openapi.json/",
        "//evil.test/..",
        "/redoc",
    ):
        answer = await named.get(path, headers={"host": "localhost", "accept": "text/html"})
        assert (answer.status_code, "location" in answer.headers) in ((404, False), (503, False), (200, False)), path
    answer = await named.post("/api/traces/", headers={"host": "localhost"}, json=trace(1))
    assert (answer.status_code, answer.json()["hint"]) == (404, "Paths of the API do not end with a slash.")


@pytest.fixture
def system(database_url: str, tmp_path: Path) -> Iterator[System]:
    """A system of real processes."""
    system = System(tmp_path, database_url)
    try:
        yield system
    finally:
        system.close()


def _raw(port: int, request: str) -> tuple[int, str]:
    """Send a request byte by byte as given; returns the status and the head of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
            received += chunk
    head = received.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    return int(head.split()[1]), head


def test_a_served_system_checks_the_bytes_that_arrive(system: System) -> None:
    system.environment["TUNIX_RT_ALLOWED_HOSTS"] = "RT.example.org., 10.1.2.3"
    system.serve(workers=0)
    end = "Connection: close\r\n\r\n"
    for request, status in (
        ("GET /api/traces HTTP/1.0\r\n", 421),
        ("GET /api/health HTTP/1.0\r\n", 200),
        ("GET /api/traces HTTP/1.1\r\nHost: localhost\r\nhOST: evil.test\r\n", 421),
        ("GET http://localhost/api/traces HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("GET /api/traces HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: localhost\r\n", 421),
        ("GET /api/traces HTTP/1.1\r\nHost: evil.test\r\nForwarded: host=localhost\r\n", 421),
        ("GET /api/%74races HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("GET /api/health/../traces HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("GET /metrics/ HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("GET /api/traces HTTP/1.1\r\nHost: rt.example.org:8443\r\n", 200),
        ("GET /api/traces HTTP/1.1\r\nHost: 10.1.2.3\r\n", 200),
        ("GET /api/traces/ HTTP/1.1\r\nHost: rt.example.org\r\n", 404),
    ):
        answered, head = _raw(system.port, request + end)
        assert answered == status, request
        assert "content-security-policy: default-src 'none'" in head
        assert "evil" not in head
        assert "location:" not in head
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    answered, head = _raw(
        system.port, f"GET /api/events HTTP/1.1\r\nHost: evil.test\r\n{upgrade}Connection: Upgrade\r\n\r\n"
    )
    assert (answered, "content-security-policy" in head) == (421, True)


def test_the_command_line_and_curl_keep_working(system: System) -> None:
    system.serve(workers=0)
    address = f"http://localhost:{system.port}"
    command = [
        sys.executable,
        "-m",
        "tunix_rt.cli.main",
        "traces",
        "generate",
        "addition",
        "--count",
        "3",
        "--seed",
        "1",
    ]
    for url in ({"TUNIX_RT_URL": address}, {}):
        done = subprocess.run(command, env=system.environment | url, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    body = json.dumps(trace(1))
    words = [curl, "--silent", "--show-error", "--max-time", "60", "--data", body, f"{address}/api/traces"]
    done = subprocess.run(
        [*words, "--header", "Content-Type: application/json"], capture_output=True, text=True, timeout=240
    )
    assert "digest" in json.loads(done.stdout), done.stderr
    assert len(system.get("/api/traces", limit=200)["data"]) == 4


def test_a_command_that_calls_the_server_by_an_unknown_name_is_told_how_to_allow_it(system: System) -> None:
    system.serve(workers=0)
    environment = system.environment | {"TUNIX_RT_URL": f"http://127.0.0.1.nip:{system.port}", "http_proxy": ""}
    code = "import socket; a = socket.getaddrinfo; socket.getaddrinfo = lambda host, *b, **c: a('127.0.0.1', *b, **c)"
    main = "from tunix_rt.cli import main; main.main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {main}", "traces", "list"],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1
    assert "127.0.0.1.nip" in done.stderr
    assert "tunix-rt serve --allowed-hosts 127.0.0.1.nip" in done.stderr
