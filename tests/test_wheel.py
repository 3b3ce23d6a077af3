"""The wheel without extras: every command ends as documented, or names the extra that it needs before any work."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.make import TINY
from tests.registry.make import completed, hand_of
from tests.training.make import tokenizer_folder, trace
from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings
from tunix_rt.training.config import LoraChoice, ModelDimensions
from tunix_rt.training.engines import architecture, lora, model_folder

TOP = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "configs", "src")  # no web/: the app is built
CRASHES = re.compile(r"Traceback|ModuleNotFoundError|ImportError|Unexpected error")
POSTGRES = {"TUNIX_RT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of a new environment with the wheel and what it depends on, at the versions of the lock."""
    folder = tmp_path_factory.mktemp("wheel")
    assert (TOP / "src" / "tunix_rt" / "web" / "dist" / "index.html").exists(), "build the web app first: make web"
    (folder / "tree").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (TOP / name).is_dir() else shutil.copy
        copy(TOP / name, folder / "tree" / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=folder / "tree", check=True)
    [wheel] = (folder / "dist").glob("*.whl")
    uv = shutil.which("uv") or str(TOP / ".cache" / "uv" / "bin" / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(folder / "venv" / "bin" / "python")]
    install += ["--constraints", str(TOP / "requirements.lock"), str(wheel)]
    # uv's cache holds what `make setup` installed; else the package registry does.
    if subprocess.run([*install, "--offline"], stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(install, check=True)
    return folder / "venv" / "bin"


@dataclass
class Installed:
    """A terminal of the new environment, on a home of its own."""

    bin: Path
    folder: Path
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TUNIX_RT_", "PYTHON"))}
        # Nothing that this machine has may answer for the new environment: a GPU's driver, say.
        self.environment = inherited | {"TUNIX_RT_HOME": str(self.home), "COLUMNS": "200", "PATH": str(self.bin)}
        self._process = subprocess.Popen(
            [self.bin / "python", "-I", TOP / "tests" / "installed.py"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def request(self, **message: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(message), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def __call__(self, *words: object, **environment: str) -> dict[str, Any]:
        self.called.append(" ".join(map(str, words)))
        done: dict[str, Any] = self.request(words=list(map(str, words)), environment=environment)
        assert not CRASHES.search(done["err"] + done["out"]), (words, done)
        return done

    def json(self, *words: object) -> Any:
        done = self(*words, "--json")
        assert done["code"] == 0, (words, done)
        return json.loads(done["out"])

    def contents(self) -> tuple[list[str], dict[str, int]]:
        """Every file but the database's own, and the rows of each of its tables."""
        paths = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        with closing(sqlite3.connect(self.home / "tunix-rt.db")) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608
        return sorted(path for path in paths if ".db-" not in path), counts

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def installed(bin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The new environment, with 50 traces, a data set, an eval set and two files of predictions."""
    terminal = Installed(bin_folder, tmp_path_factory.mktemp("installed"))
    terminal.json("traces", "generate", "addition", "--count", 50, "--seed", 1)
    terminal.json("datasets", "build", "sums", "--source", "addition", "--split", "eval=0.4")
    terminal("datasets", "export", "sums-v1", "--format", "eval-set", "--split", "eval", "-o", "held-out.jsonl")
    items = [json.loads(line) for line in (terminal.folder / "held-out.jsonl").read_text().splitlines()]
    for name, answers in (("good", lambda item: item["expected_answer"]), ("bad", lambda _: "none")):
        lines = (json.dumps({"id": item["id"], "output": answers(item)}) for item in items)
        (terminal.folder / f"{name}.jsonl").write_text("\n".join(lines))
    (terminal.folder / "other.jsonl").write_text(json.dumps(items[0]))
    labels = ({**item, "output": item["expected_answer"], "label": 1} for item in items)
    (terminal.folder / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    (terminal.folder / "more.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"}))
    yield terminal
    terminal.close()


def completed_run(home: Path) -> str:
    """A completed run with a model, made where there is an engine; its id."""

    async def make() -> str:
        settings = Settings(home=home, database_url="")
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as api,
        ):
            return await completed(api, hand_of(api, settings), dataset_key="sums-v1")

    return asyncio.run(make())


def adapter(folder: Path) -> Path:
    """An adapter of a tiny model."""
    tokenizer = tokenizer_folder(folder / "tokenizer", trace())
    d = architecture.from_scratch(ModelDimensions.model_validate(TINY), tokenizer.size, 64)
    base, choice = folder / "base", LoraChoice()
    model_folder.write_folder(
        base, model_folder.start(d, 0), architecture.to_json(d), tokenizer.special, folder / "tokenizer", np.float32
    )
    lora.write_adapter(
        folder / "adapter", lora.start(d, choice, 0), choice, base, tokenizer.special, folder / "tokenizer"
    )
    return folder / "adapter"


def test_every_command_of_a_base_install_works_or_names_the_extra_that_it_needs(installed: Installed) -> None:
    bad = installed.json("evaluate", "--eval-set", "held-out.jsonl", "--predictions", "bad.jsonl")["id"]
    good = installed.json("evaluate", "--eval-set", "held-out.jsonl", "--predictions", "good.jsonl")["id"]
    first, second, last = (row["id"] for row in installed.json("traces", "list", "--limit", 3))
    run = completed_run(installed.home)
    model, adapted = installed.home / "runs" / run / "model", adapter(installed.folder)
    installed.json("init", "starter.yaml")
    pending = installed.json("runs", "submit", "starter.yaml", "--dataset", "sums-v1")["run_id"]

    exit_codes: list[tuple[str, int]] = [
        ("doctor", 0),
        *((f"db {name}", 0) for name in ("upgrade", "current", "check")),
        ("db downgrade base", 4),
        ("init starter.yaml", 4),
        (f"init adapter.yaml --engine torch --model-id {installed.folder / 'base'} --dataset sums-v1", 0),
        ("init --example cpu_smoke", 0),
        ("train none.yaml", 3),
        ("traces import more.jsonl --source more", 0),
        ("traces sources", 0),
        (f"traces set-source addition {first}", 0),
        (f"traces show {first}", 0),
        (f"traces score {first}", 0),
        (f"traces compare {first} {second}", 0),
        ("traces export --source addition -o exported.jsonl", 0),
        (f"traces delete {last}", 4),  # the data set holds it
        ("datasets list", 0),
        ("datasets show sums-v1", 0),
        ("datasets build sums --version v2 --source addition --limit 40", 0),
        ("datasets diff sums-v1 sums-v2", 0),
        (f"datasets audit sums-v2 --tokenizer {model}", 1),  # the model's characters are not the data set's
        ("datasets contamination sums-v1 --eval-set held-out.jsonl", 0),
        ("compare --eval-set held-out.jsonl bad.jsonl good.jsonl", 0),
        ("leaderboard", 0),
        ("evaluations list", 0),
        (f"evaluations show {good}", 0),
        (f"evaluations items {good}", 0),
        (f"evaluations judge {good} --judge numeric", 0),
        (f"evaluations verify {good}", 0),
        (f"evaluations waive {good} --reason none", 0),
        ("judge list", 0),
        ("judge calibrate --labels labels.jsonl", 0),
        ("judge compare good.jsonl bad.jsonl --eval-set held-out.jsonl --judge exact", 1),  # it compares no pairs
        (f"baselines set main --evaluation {good}", 0),
        ("baselines list", 0),
        (f"gate --baseline main --evaluation {good}", 0),
        (f"gate --baseline main --evaluation {bad}", 5),
        (f"models promote {run} --name sums --alias best", 0),
        ("models list", 0),
        ("models show sums", 0),
        ("models alias sums other 1", 0),
        ("models pull sums@best --output pulled", 0),
        ("models verify sums", 0),
        (f"models merge {adapted} --output merged", 0),
        ("runs list", 0),
        *((f"runs {name} {run}", 0) for name in ("show", "logs", "metrics", "artifacts", "samples")),
        (f"runs retry {run} --from-start", 0),
        (f"runs checkpoint {pending}", 4),
        (f"runs cancel {pending}", 0),
    ]
    needs: list[tuple[str, str]] = [
        ("demo --seed 3", "tunix"),
        ("train --plan", "tunix"),
        ("train --dataset sums-v1 --output trained", "tunix"),
        ("train configs/torch_cpu.yaml --dataset sums-v1 --plan", "torch"),
        ("train --dataset sums-v1 --set engine=torch --output trained", "torch"),
        (f"generate --model {model} --eval-set held-out.jsonl -o answers.jsonl", "tunix"),
        (f"generate --model {model} --eval-set held-out.jsonl -o answers.jsonl --engine torch", "torch"),
        (f"models check {model}", "torch"),
        (f"runs evaluate {run}", "tunix"),
        (f"runs evaluate {run} --judge math", "math"),
        ("evaluate --eval-set other.jsonl --predictions good.jsonl --judge math", "math"),
        ("evaluate --eval-set other.jsonl --predictions good.jsonl --judge reasoning-gym:seconds=3", "reasoning-gym"),
        ("compare --eval-set other.jsonl bad.jsonl good.jsonl --judge math", "math"),
        (f"evaluations judge {good} --judge math", "math"),
        ("judge calibrate --labels labels.jsonl --judge math", "math"),
        ("judge compare good.jsonl bad.jsonl --eval-set held-out.jsonl --judge math", "math"),
    ]
    shutil.copytree(TOP / "configs", installed.folder / "configs", dirs_exist_ok=True)
    (installed.folder / "configs" / "cpu_smoke.yaml").unlink()  # `init` writes it

    before = installed.contents()
    for words, extra in needs:
        done = installed(*words.split())
        assert (words, done["code"], done["out"]) == (words, 1, "")
        assert f"\n  Install it: pip install 'tunix-rt[{extra}]'\n" in done["err"], (words, done)
    error = json.loads(installed("demo", "--json")["out"])["error"]
    assert (error["code"], error["hint"]) == ("missing_extra", "Install it: pip install 'tunix-rt[tunix]'")
    assert installed.contents() == before
    for words in ("traces list", "db upgrade", "db current", "serve --port 0", "worker", "runs list"):
        done = installed(*words.split(), **POSTGRES)
        assert (words, done["code"], done["out"]) == (words, 1, "")
        assert "pip install 'tunix-rt[postgres]'" in done["err"], (words, done)
    assert "tunix-rt[postgres]" in installed("doctor", **POSTGRES)["out"]
    dry = installed("runs", "submit", "starter.yaml", "--dataset", "sums-v1", "--dry-run")
    assert (dry["code"], "pip install 'tunix-rt[tunix]'" in dry["err"]) == (1, True), dry
    assert [(words, installed(*words.split())["code"]) for words, _ in exit_codes] == exit_codes
    called = [f"{words} " for words in installed.called]
    commands = [f"{command} " for command in installed.request(tree=True)]
    unused = [command for command in commands if not any(words.startswith(command) for words in called)]
    assert unused == [], "add them, with arguments, to this test"


def test_init_of_a_base_install_names_the_engine_to_install(installed: Installed, tmp_path: Path) -> None:
    facts = installed.json("init", tmp_path / "cpu.yaml")
    assert (facts["engine"], facts["available"], facts["device"]) == ("tunix", False, "cpu")
    assert "pip install 'tunix-rt[tunix]'" in facts["warnings"][0]
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho '0, 16000, Tesla T4'\n")
    driver.chmod(0o755)
    done = installed("init", tmp_path / "gpu.yaml", "--model-id", adapter(tmp_path).parent / "base", PATH=str(tmp_path))
    assert done["code"] == 0, done
    assert "pip install 'tunix-rt[torch]'" in done["err"]
    assert "engine torch: on gpu:0 Tesla T4, with 15.6 GiB free" in done["err"]
    assert "\nprecision: bfloat16 " in (tmp_path / "gpu.yaml").read_text()


def test_the_server_and_the_worker_of_a_base_install_answer_and_end_in_good_order(installed: Installed) -> None:
    run = completed_run(installed.home)
    worker = subprocess.Popen(
        [installed.bin / "tunix-rt", "worker"], env=installed.environment, stderr=subprocess.PIPE, text=True
    )
    server = subprocess.Popen(
        [installed.bin / "tunix-rt", "serve", "--port", "0", "--workers", "1"],
        env=installed.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr
        assert worker.stderr
        url = server.stderr.readline().split()[-1]
        # It takes no run then, and `runs show` says so.
        while "Install it: pip install 'tunix-rt[tunix]'" not in (line := worker.stderr.readline()):
            assert line, "the worker ended"
        with httpx.Client(base_url=url, timeout=60) as api:
            assert "<!doctype html>" in api.get("/", headers={"accept": "text/html"}).text
            engines = api.get("/api/tunix/status").json()["engines"]
            body = {"dataset_key": "sums-v1", "dry_run": True}
            dry = api.post("/api/tunix/run", json=body).json()
            refused = {
                "math": [
                    api.get("/api/judges/math"),
                    api.post("/api/evaluations", params={"name": "n", "eval_set": "held-out", "judge": "math"}),
                    api.post(f"/api/tunix/runs/{run}/evaluate", json={"judge": "math"}),
                ],
                "tunix": [api.post(f"/api/tunix/runs/{run}/evaluate", json={})],
            }
            judge = api.get("/api/judges/numeric:tolerance=0.5").json()
    finally:
        for process in (worker, server):
            process.send_signal(signal.SIGTERM)
        texts = [process.communicate(timeout=60)[1] for process in (worker, server)]
    assert [worker.returncode, server.returncode] == [0, 0]
    assert not CRASHES.search("".join(texts))
    assert [engine["available"] for engine in engines.values()] == [False, False]
    problem = dry["checks"]["engine"]["problem"]
    assert (problem["code"], problem["hint"]) == ("missing_extra", "Install it: pip install 'tunix-rt[tunix]'")
    assert dry["checks"]["ledger"]["ok"] is True  # what needs no engine is checked all the same
    for extra, answers in refused.items():
        for answer in answers:
            error = answer.json()
            assert (answer.status_code, error["code"]) == (501, "missing_extra")
            assert error["hint"] == f"Install it: pip install 'tunix-rt[{extra}]'"
    assert (judge["name"], judge["problem"]) == ("numeric:tolerance=0.5", None)
