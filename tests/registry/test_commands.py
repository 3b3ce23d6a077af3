"""`tunix-rt models` as a user meets it, and a promotion whose process is killed."""

import asyncio
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests import make
from tests.logserver import Server, document, serving
from tests.registry.make import completed, hand_of, promoted
from tests.test_cli import Shell
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings


async def _filled(settings: Settings) -> list[str]:
    """Three completed runs with models, of which the last is like the first."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as api,
    ):
        await make.stored(api, make.trace(1))
        await make.dataset(api)
        hand = hand_of(api, settings)
        return [await completed(api, hand, seed) for seed in (1, 2, 1)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, list[str]]]:
    """A server with runs, and a terminal that talks to it."""
    shell = Shell(tmp_path_factory.mktemp("registry"))
    settings = Settings(home=shell.folder / "home", database_url="")
    found = asyncio.run(_filled(settings))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        shell.environment["TUNIX_RT_URL"] = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield shell, found
        server.should_exit = True
        thread.join()


def test_from_a_run_to_a_folder_and_back(runs: tuple[Shell, list[str]], tmp_path: Path) -> None:
    shell, (first, second, twin) = runs
    done = shell("models", "promote", first, "--name", "sums", "--alias", "best", "--description", "Adds.")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "sums:1")
    assert shell.json("models", "promote", twin, "--name", "sums")["version"] == "1"
    assert shell.json("models", "promote", second[:13], "--name", "sums", "--version", "1.5")["version"] == "1.5"
    assert shell.json("models", "alias", "sums", "best", "1.5", "--reason", "better")["version"] == "1.5"
    rows = {row["name"]: row for row in shell.json("models", "list")}
    assert (rows["sums"]["version_count"], rows["sums"]["versions"][0]["version"]) == (2, "1.5")
    found = shell.json("models", "show", "sums")
    assert [(move["from"], move["to"], move["reason"]) for move in found["history"]] == [
        ("1", "1.5", "better"),
        (None, "1", None),
    ]
    said = shell("models", "show", "sums").stdout
    assert ("best: 1 -> 1.5" in said, "Adds." in said, first in said) == (True, True, True)
    for name, run in (("sums@best", second), ("sums", second), ("sums:1", first)):
        target = tmp_path / name
        pulled = shell.json("models", "pull", name, "--output", target)
        assert (pulled["output"], pulled["written"]) == (str(target), True)
        source = shell.folder / "home" / "runs" / run / "model"
        assert {path.name: path.read_bytes() for path in target.iterdir()} == {
            path.name: path.read_bytes() for path in source.iterdir()
        }
    assert shell("models", "pull", "sums:1").stdout == "sums-1\n"
    assert (shell.folder / "sums-1" / "config.json").exists()
    assert shell.json("models", "verify", "sums", "sums:1")[0]["ok"]
    (shell.folder / "config.yaml").write_text("dataset: data-v1\nmethod: lora\n")
    run = shell.json("runs", "submit", "config.yaml", "--model-id", "sums@best")["run_id"]
    assert shell.json("runs", "show", run)["model_id"] == "sums:1.5"


def test_a_folder_with_something_else_is_not_overwritten(runs: tuple[Shell, list[str]], tmp_path: Path) -> None:
    shell, (first, *_) = runs
    shell.json("models", "promote", first, "--name", "kept")
    assert shell.json("models", "pull", "kept", "-o", tmp_path / "a")["written"]
    assert not shell.json("models", "pull", "kept", "-o", tmp_path / "a")["written"]
    (tmp_path / "empty").mkdir()
    assert shell.json("models", "pull", "kept", "-o", tmp_path / "empty")["written"]
    (tmp_path / "a" / "config.json").write_text("mine")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    (tmp_path / "c").write_text("a file")
    for name in "abc":
        done = shell("models", "pull", "kept", "-o", tmp_path / name)
        assert (done.returncode, "something else" in done.stderr) == (4, True)
    assert (tmp_path / "a" / "config.json").read_text() == "mine"
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["thesis.txt"]
    assert (tmp_path / "c").read_text() == "a file"


def test_damage_is_found_and_nothing_damaged_is_written(runs: tuple[Shell, list[str]], tmp_path: Path) -> None:
    shell, _ = runs
    folder = shell.folder / "home" / "runs" / runs[1][1] / "model"
    (folder / "extra.txt").write_text("only here")
    shell.json("models", "promote", runs[1][1], "--name", "hurt")
    found = next((shell.folder / "home" / "registry" / "files").glob(f"*/{_sha256(folder / 'extra.txt')}"))
    found.unlink()
    found.write_text("only heRe")
    (folder / "extra.txt").unlink()
    done = shell("models", "verify", "hurt")
    assert (done.returncode, "hurt:1 extra.txt: its SHA-256 is" in done.stderr) == (1, True)
    told = shell("models", "verify", "hurt", "--json")
    assert (told.returncode, json.loads(told.stdout)[0]["damaged"][0]["path"]) == (1, "extra.txt")
    done = shell("models", "pull", "hurt", "-o", tmp_path / "out")
    assert (done.returncode, "another SHA-256" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


MISTAKES: list[tuple[list[str], int, str]] = [
    (["promote", "00000000", "--name", "new"], 3, "no run"),
    (["promote", "{run}", "--name", "../x"], 1, "/name"),
    (["promote", "{run}", "--name", "kept", "--version", "other"], 4, "version 1 of kept already"),
    (["show", "none"], 3, "no model 'none'"),
    (["pull", "kept@none"], 3, "no alias 'none'"),
    (["pull", "kept:9"], 3, "no version '9'"),
    (["pull", "empty"], 3, "no version yet"),
    (["pull", "a/b"], 1, "names no model"),
    (["alias", "kept", "best", "9"], 3, "no version '9'"),
    (["verify"], 2, "Missing argument"),
]


def test_a_mistake_is_told_with_its_exit_code(runs: tuple[Shell, list[str]]) -> None:
    shell, (first, *_) = runs
    shell.json("models", "promote", first, "--name", "kept")
    httpx.post(shell.environment["TUNIX_RT_URL"] + "/api/models", json={"name": "empty"}).raise_for_status()
    for words, code, says in MISTAKES:
        done = shell("models", *(word.format(run=first) for word in words), "--json")
        told = json.loads(done.stdout)["error"]
        assert (done.returncode, says in told["detail"]) == (code, True), (words, told)


# --- a server that lies -----------------------------------------------------------------------------------------


@pytest.fixture
def liar() -> Iterator[Server]:
    with serving() as found:
        yield found


def test_a_server_cannot_make_pull_write_elsewhere(liar: Server, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["TUNIX_RT_URL"] = liar.url
    for path in ("../out.txt", "/tmp/out.txt", "a/../../out.txt", ".ssh/keys", "a\\b", "a//b", ""):
        file = {"path": path, "size": 1, "sha256": "0" * 64}
        liar.answers.append(document({"name": "m", "version": "1", "size": 1, "files": [file]}))
        done = shell("models", "pull", "m:1")
        assert (done.returncode, "outside the model" in done.stderr) == (1, True), path
    assert list(tmp_path.iterdir()) == []


# --- killed -----------------------------------------------------------------------------------------------------

DIES = """
import os, signal, sys
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    if event == "os.rename" and "/registry/" in str(arguments[1]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
from tunix_rt.cli.main import main
main()
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # about files and a process: one database will do
async def test_a_promotion_that_is_killed_midway_leaves_nothing_half(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    await make.stored(api, make.trace(1))
    await make.dataset(api)
    run = await completed(api, hand_of(api, settings))
    await api.post("/api/models", json={"name": "sums"})
    environment = os.environ | {"TUNIX_RT_HOME": str(settings.home), "TUNIX_RT_DATABASE_URL": settings.database_url}
    command = [sys.executable, "-c", DIES, "3", "models", "promote", run, "--name", "sums"]
    killed = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    files = settings.home / "registry" / "files"
    kept = [path for path in files.glob("*/*") if not path.name.startswith(".")]
    assert len(kept) == 2
    assert all(_sha256(path) == path.name for path in kept)
    found = (await api.get("/api/models/sums")).json()
    assert (found["versions"], found["history"]) == ([], [])
    assert (await promoted(api, run))["version"] == "1"
    assert (await api.post("/api/models/sums/1/verify")).json()["ok"]


async def test_what_is_pulled_is_byte_for_byte_what_is_downloaded(
    api: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    await make.stored(api, make.trace(1))
    await make.dataset(api)
    await promoted(api, await completed(api, hand_of(api, settings)), alias="best")
    shell = Shell(tmp_path)
    shell.environment |= {"TUNIX_RT_HOME": str(settings.home), "TUNIX_RT_DATABASE_URL": settings.database_url}
    done = await asyncio.to_thread(shell.json, "models", "pull", "sums@best")
    downloaded = (await api.get("/api/models/sums/1/download")).content
    with zipfile.ZipFile(io.BytesIO(downloaded)) as archive:
        for name in archive.namelist():
            assert (tmp_path / name).read_bytes() == archive.read(name)
        assert len(archive.namelist()) == done["n_files"] == len(list((tmp_path / "sums-1").iterdir()))
