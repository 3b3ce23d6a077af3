"""A disk that fills up in the middle of an import: the error says how much is stored, and the rest can follow.

The kernel lets no file of the process grow past a limit, as a quota would; or, where a disk of our own can be
mounted, that disk is full.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.make import trace
from tests.runs.system import System
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings

LIMIT_BYTES = 5 * 2**20
LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, resource.RLIM_INFINITY))
from tunix_rt.cli.main import main
main()
"""
MAIN = ("-m", "tunix_rt.cli.main")
COUNT = 6_000
MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces that need twice the room that there is."""
    path = tmp_path_factory.mktemp("given") / "train.jsonl"
    path.write_text("".join(json.dumps(trace(n, prompt=f"{n} " * 100)) + "\n" for n in range(COUNT)))
    return path


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A home that is not yet served."""
    found = System(tmp_path)
    try:
        yield found
    finally:
        found.close()


def serve(system: System, *, limited: bool) -> None:
    """Serve the home, its files limited in size or not, in place of an earlier server."""
    for server in system.servers:
        server.terminate()
        server.wait()
    system.command = [sys.executable, *(("-c", LIMITED) if limited else MAIN)]
    system.serve(workers=0)


def command(system: System, *words: object, start: tuple[str, ...] = (), url: bool = False) -> tuple[int, Any]:
    """Run a command with `--json`; its exit code and its document."""
    environment = system.environment | ({"TUNIX_RT_URL": str(system.api.base_url)} if url else {})
    words = (*start, sys.executable, *(("-c", LIMITED) if not url and not start else MAIN), *words, "--json")
    done = subprocess.run([*map(str, words)], env=environment, capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def stored(system: System) -> int:
    """How many traces the server has."""
    return system.api.get("/api/traces/export.jsonl").content.count(b"\n")


def counted(error: dict[str, Any], request: str = "import") -> int:
    """How many traces an error says are stored; its sentence and its figures agree."""
    assert error["code"] == "disk_full"
    count = error["stored"]["created"] + error["stored"]["already_present"]
    assert count > 0
    assert f"{count:,} traces of this {request} are stored, the rest is not." in error["detail"]
    assert error["hint"].endswith(f"Repeating the {request} continues: stored traces are recognised and skipped.")
    return int(count)


def test_an_import_into_a_full_disk_says_how_much_is_stored_and_continues_when_repeated(
    system: System, file: Path
) -> None:
    serve(system, limited=True)
    content = file.read_bytes()
    answer = system.api.post("/api/traces/import", content=content)
    assert answer.status_code == 507
    count = counted(answer.json())
    assert answer.json()["stored"] == {"created": count, "already_present": 0}
    assert 0 < count == stored(system) < COUNT

    code, document = command(system, "traces", "import", file, "--source", "none", "--on-error", "skip", url=True)
    assert (code, counted(document["error"])) == (1, count)
    assert document["error"]["stored"] == {"created": 0, "already_present": count}
    assert counted(system.api.post("/api/datasets/ingest?name=data", content=content).json()) == count

    for first in range(COUNT, COUNT + 500, 10):  # each of these requests is one transaction
        before = stored(system)
        batch = [trace(n, prompt=f"{n} " * 8_000) for n in range(first, first + 10)]
        answer = system.api.post("/api/traces/batch", json=batch)
        if answer.status_code != 201:
            break
    assert answer.status_code == 507
    assert answer.json()["detail"].endswith("The write that failed was undone, and what was stored before is whole.")
    assert "stored" not in answer.json()
    assert stored(system) == before

    serve(system, limited=False)
    report = system.api.post("/api/traces/import", content=content).json()
    assert (report["created"], report["already_present"]) == (COUNT - count, count)


def test_a_generation_into_a_full_disk_says_how_much_is_stored(system: System) -> None:
    serve(system, limited=True)
    body = {"source": "word-problems", "count": 20_000, "seed": 1}
    answer = system.api.post("/api/traces/generate", json=body, timeout=600)
    assert answer.status_code == 507
    assert counted(answer.json(), "generation") == stored(system)


def test_a_command_on_the_embedded_database_says_it_too(system: System, file: Path) -> None:
    code, document = command(system, "traces", "import", file)
    assert code == 1
    assert document["error"]["stored"] == {"created": counted(document["error"]), "already_present": 0}


@pytest.mark.skipif(not MAY_MOUNT, reason="no disk of our own can be mounted here")
def test_a_disk_that_is_really_full_is_called_full(system: System, file: Path) -> None:
    system.home.mkdir()
    start = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=8m tmpfs {system.home} && exec "$@"', "sh")
    code, document = command(system, "traces", "import", file, start=start)
    assert code == 1
    counted(document["error"])
    assert document["error"]["detail"].startswith("The database's disk is full; the write that failed was undone")
    assert "df -h" in document["error"]["hint"]


async def test_an_upload_past_its_limit_says_what_is_stored_of_it(settings: Settings, file: Path) -> None:
    app = create_app(settings.model_copy(update={"upload_limit_bytes": 1_500_000}))
    transport = httpx.ASGITransport(app)
    lines = file.read_bytes().splitlines(keepends=True)  # noqa: ASYNC240  # nothing else runs

    async def chunks() -> AsyncIterator[bytes]:
        for line in lines:
            yield line

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        answer = await api.post("/api/traces/import?on_error=skip", content=chunks())
        assert answer.status_code == 413
        count = answer.json()["stored"]["created"]
        assert count > 0
        assert f"{count:,} traces of this import are stored, the rest is not." in answer.json()["detail"]
        assert (await api.get("/api/traces/export.jsonl")).content.count(b"\n") == count


async def test_an_ingested_file_whose_data_set_is_refused_says_that_its_traces_are_stored(
    api: httpx.AsyncClient, file: Path
) -> None:
    lines = file.read_bytes().splitlines(keepends=True)[:20]  # noqa: ASYNC240
    assert (await api.post("/api/datasets/ingest?name=a&version=1", content=b"".join(lines[:8]))).status_code == 201
    answer = await api.post("/api/datasets/ingest?name=a&version=1", content=b"".join(lines))
    assert answer.status_code == 409
    assert answer.json()["stored"] == {"created": 12, "already_present": 8}
    assert answer.json()["detail"].endswith("20 traces of this import are stored, the data set is not.")
    assert "Repeating" not in answer.json()["hint"]
