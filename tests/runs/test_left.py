"""What a run leaves: files and nothing beside them, the ends of its logs, and figures that keep their extremes."""

import asyncio
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make import Hand, dataset, ended, folder, run, stored, trace
from tunix_rt import migrations
from tunix_rt.base.db import Database
from tunix_rt.base.settings import Settings
from tunix_rt.jobs.retry import End
from tunix_rt.runs import logs, metrics

RUNS = "/api/tunix/runs"


@pytest.fixture
def hand(database: Database, settings: Settings) -> Hand:
    return Hand(database, settings)


@pytest.fixture
async def left(api: httpx.AsyncClient, settings: Settings) -> tuple[str, Path]:
    """A run that waits, and its folder."""
    await stored(api, trace(1))
    await dataset(api)
    run_id = await run(api)
    path = folder(settings, run_id)
    path.mkdir(parents=True)
    return run_id, path


def fill(path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


async def literally(
    api: httpx.AsyncClient, path: str, begun: Callable[[], None] = lambda: None
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Get a path as it is written, which httpx would tidy up; `begun` is called when the answer has begun."""
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    sent: list[dict[str, Any]] = []
    asked = asyncio.Event()
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "query_string": b""}
    scope |= {"path": unquote(path), "raw_path": path.encode(), "headers": [(b"host", b"localhost")]}

    async def receive() -> dict[str, Any]:
        if asked.is_set():
            await asyncio.Event().wait()  # the client stays
        asked.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.start":
            begun()

    await app(scope, receive, send)
    headers = dict(sent[0]["headers"])
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent)


FILES = {
    "config.yaml": (b"steps: 1\n", "config"),
    "provenance.json": (b"{}", "config"),
    "events.jsonl": (b"", "log"),
    "logs/0001.stdout.log": (b"hello\n", "log"),
    "checkpoints/step-00000004/state/arrays.bin": (bytes(range(256)) * 9, "checkpoint"),
    "model/model.safetensors": (b"weights", "model"),
    "predictions/eval.jsonl": (b"{}\n", "predictions"),
    "data/train.jsonl": ("ä\n".encode(), "other"),
    "note with spaces & ü.txt": (b"x", "other"),
}


# --- files ------------------------------------------------------------------------------------------------------


async def test_every_file_is_listed_with_its_digest_and_given_out(
    api: httpx.AsyncClient, left: tuple[str, Path]
) -> None:
    run_id, path = left
    fill(path, {name: content for name, (content, _) in FILES.items()})
    found = (await api.get(f"{RUNS}/{run_id}/artifacts")).json()["data"]
    expected = [
        {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "kind": kind}
        for name, (content, kind) in sorted(FILES.items())
    ]
    assert found == expected
    for one in found:
        answer = await api.get(f"{RUNS}/{run_id}/artifacts/{one['path']}")
        assert (answer.status_code, answer.content) == (200, FILES[one["path"]][0])
        assert answer.headers["etag"] == f'"{one["sha256"]}"'
        assert answer.headers["content-type"] in ("text/plain; charset=utf-8", "application/octet-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"
    (path / "events.jsonl").write_bytes(b"more\n")
    [changed] = [one for one in (await api.get(f"{RUNS}/{run_id}/artifacts")).json()["data"] if one["path"][0] == "e"]
    assert changed["sha256"] == hashlib.sha256(b"more\n").hexdigest()


async def test_parts_of_a_file_are_given_and_what_is_known_is_not_sent_again(
    api: httpx.AsyncClient, left: tuple[str, Path]
) -> None:
    run_id, path = left
    content = bytes(range(256)) * 4
    fill(path, {"model/a.bin": content})
    url = f"{RUNS}/{run_id}/artifacts/model/a.bin"
    etag = (await api.get(url)).headers["etag"]
    for asked, part in (("bytes=0-9", content[:10]), ("bytes=1000-", content[1000:]), ("bytes=-5", content[-5:])):
        answer = await api.get(url, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, part), asked
        assert answer.headers["content-range"].endswith("/1024")
    for headers, status in (
        ({"range": "bytes=0-9", "if-range": etag}, 206),
        ({"range": "bytes=0-9", "if-range": '"other"'}, 200),
        ({"if-none-match": etag}, 304),
        ({"if-none-match": f'"x", W/{etag}'}, 304),
        ({"if-none-match": '"other"'}, 200),
        ({"range": "bytes=1024-"}, 416),
        ({"range": "bytes=9-1"}, 400),
    ):
        answer = await api.get(url, headers=headers)
        if status == 400:  # Starlette's word for it; ours is one shape
            assert answer.status_code in (400, 416, 422)
        else:
            assert answer.status_code == status, headers
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        if answer.status_code == 304:
            assert answer.content == b""
    fill(path, {"model/a.bin": content[::-1]})
    answer = await api.get(url, headers={"range": "bytes=0-9", "if-range": etag})
    assert (answer.status_code, answer.content) == (200, content[::-1]), "two halves of two files are no file"


async def test_nothing_outside_the_folder_can_be_read(
    api: httpx.AsyncClient, left: tuple[str, Path], settings: Settings
) -> None:
    run_id, path = left
    secret = settings.home / "secret.txt"
    secret.write_bytes(b"secret")
    other = settings.home / "runs" / "other"
    fill(other, {"inner/secret.txt": b"secret"})
    fill(path, {"a/b.txt": b"public", ".model.1234.partial": b"half", "checkpoints/.tmp/x.bin": b"half"})
    (path / "file-link").symlink_to(secret)
    (path / "relative-link").symlink_to("../../secret.txt")
    (path / "folder-link").symlink_to(other)
    (path / "a" / "inside-link").symlink_to(path / "a" / "b.txt")
    (path / "loop").symlink_to(path)
    os.mkfifo(path / "pipe")
    assert [one["path"] for one in (await api.get(f"{RUNS}/{run_id}/artifacts")).json()["data"]] == ["a/b.txt"]
    base = f"{RUNS}/{run_id}/artifacts/"
    for name in (
        *("../../secret.txt", "..%2f..%2fsecret.txt", "a/../../../secret.txt", "a/%2e%2e/%2e%2e/%2e%2e/secret.txt"),
        *("%2fetc%2fpasswd", "/etc/passwd", "//etc/passwd", str(secret), "a//b.txt", "a/./b.txt", "./a/b.txt"),
        *("file-link", "relative-link", "folder-link/inner/secret.txt", "a/inside-link", "loop/a/b.txt"),
        *(".model.1234.partial", "checkpoints/.tmp/x.bin", "pipe", "a", "a/", "a/b.txt/c", "", "x" * 5000),
        *("a%5cb.txt", "..%5c..%5csecret.txt"),
    ):
        status, headers, content = await literally(api, base + name)
        assert status == 404, f"{name}: {content!r}"
        assert headers[b"content-type"] == b"application/problem+json"
        assert b"secret" not in content.replace(b"secret.txt", b"")
    assert (await api.get(base + "a%00b")).status_code == 422
    assert (await api.get(base + "a/b.txt")).content == b"public"


async def test_a_file_that_grows_while_it_is_downloaded_comes_as_it_was(
    api: httpx.AsyncClient, left: tuple[str, Path]
) -> None:
    run_id, path = left
    content = b"line\n" * 50_000
    fill(path, {"events.jsonl": content})

    def grow() -> None:
        with (path / "events.jsonl").open("ab") as file:  # as a training does
            file.write(b"more\n" * 1000)

    status, headers, received = await literally(api, f"{RUNS}/{run_id}/artifacts/events.jsonl", grow)
    assert (status, headers[b"content-length"]) == (200, b"250000")
    assert received == content


# --- the ends of logs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ""),
        ({"0001.stdout.log": b"one\ntwo"}, "one\ntwo"),
        (
            {"0001.stdout.log": b"first\n" + b"x" * 9_998 + b"\n" + b"y" * 239 + b"\n"},
            "x" * 9_998 + "\n" + "y" * 239 + "\n",
        ),
        ({"0001.stdout.log": b"first\n" + b"x" * 10_000 + b"\n" + b"y" * 239 + b"\n"}, "y" * 239 + "\n"),
        ({"0001.stdout.log": b"x" * 30_000}, "x" * 10_240),
        ({"0001.stdout.log": b"one\n", "0002.stdout.log": b"two\n", "0002.stderr.log": b"no"}, "one\ntwo\n"),
        ({"0001.stdout.log": b"z\n" * 6_000, "0010.stdout.log": b"three\n"}, "z\n" * 5_116 + "three\n"),
        ({"0001.stdout.log": b"\xff\xfe ok\n"}, "\ufffd\ufffd ok\n"),
        ({"0001.stdout.log": ("ä" * 10_000).encode()}, "ä" * 5_120),
        ({"0001.stdout.log": b"x" + ("ä" * 10_000).encode() + b"y"}, "\ufffd" + "ä" * 5_119 + "y"),
    ],
)
def test_the_end_of_a_stream_is_cut_at_a_line(tmp_path: Path, files: dict[str, bytes], expected: str) -> None:
    fill(tmp_path / "logs", files)
    assert logs.tail(tmp_path, "stdout") == expected


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 60))
def test_the_end_of_a_stream_is_never_longer_than_asked(parts: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name) / "logs", {f"{number:04d}.stderr.log": part for number, part in enumerate(parts, 1)})
        whole, found = b"".join(parts), logs.tail(Path(name), "stderr", size)
    slow = whole[-size:]
    if len(whole) > size and b"\n" in slow:
        slow = slow[slow.index(b"\n") + 1 :]
    assert found == slow.decode(errors="replace")


# --- figures ----------------------------------------------------------------------------------------------------


async def follow(hand: Hand, left: tuple[str, Path], events: str | bytes, end: End = End.DONE) -> None:
    """Let a run's process write events and end."""
    run_id, path = left
    job = await hand.takes()
    assert job.payload["run"] == run_id
    (path / "events.jsonl").write_bytes(events if isinstance(events, bytes) else events.encode())
    await hand.ends(job, ended(end))


def step(number: int, **figures: Any) -> str:
    return json.dumps({"event": "step", "step": number, **figures}) + "\n"


async def test_figures_come_by_step_and_those_that_are_none_as_texts(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    events = '{"event": "plan", "steps": 4}\n'
    events += step(1, loss=4, rate=0.5) + step(2, loss="NaN", note="text", flag=True) + step(3, loss=float("inf"))
    events += step(2, loss=3) + '{"event": "eval", "step": 3, "loss": -1e300}\n' + step(4, loss="-Infinity")
    await follow(hand, left, events + '{"event": "step", "step": 5, "loss": 9')  # the process died in the middle
    url = f"{RUNS}/{left[0]}/metrics"
    series = (await api.get(url)).json()["series"]
    assert series == {
        "eval_loss": [[3, -1e300]],
        "loss": [[1, 4], [2, 3], [3, "Infinity"], [4, "-Infinity"]],
        "rate": [[1, 0.5]],
    }, "of a step that was done again, the later figure"
    assert (await api.get(f"{url}?keys=rate,eval_loss&keys=none")).json()["series"] == {
        "rate": [[1, 0.5]],
        "eval_loss": [[3, -1e300]],
        "none": [],
    }
    for query in ("max_points=3", "max_points=x", "max_points=100001", "key=loss"):
        assert (await api.get(f"{url}?{query}")).status_code == 422
    detail = (await api.get(f"{RUNS}/{left[0]}")).json()
    assert detail["metrics"] == {"loss": "-Infinity", "rate": 0.5, "eval_loss": -1e300}
    assert (detail["progress"]["step"], detail["progress"]["total_steps"]) == (4, 4)


async def test_checkpoints_are_listed_in_order_with_the_figures_of_their_step(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    names = {f"checkpoints/step-{number:08d}/state.bin": b"x" * number for number in (4, 12, 100)}
    fill(left[1], names | {"checkpoints/.step-00000200.tmp/x": b"x", "checkpoints/step-x/x": b"x"})
    await follow(hand, left, step(4, loss=2.5) + step(12, loss="NaN"))
    found = (await api.get(f"{RUNS}/{left[0]}/checkpoints")).json()["data"]
    assert [(one["step"], one["size"], one["metrics"]) for one in found] == [
        (4, 4, {"loss": 2.5}),
        (12, 12, {"loss": "NaN"}),
        (100, 100, {}),
    ]
    assert found[0]["path"] == "checkpoints/step-00000004"


HOSTILE = [
    '{"event": "step", "step": 1, "lo\\u0000ss": 1}',
    '{"event": "step", "step": 1, "\\ud800": 1}',
    '{"event": "step", "step": 99999999999999999999, "loss": 1}',
    '{"event": "step", "step": -1, "loss": 1}',
    '{"event": "step", "step": 1, "loss": 1' + "0" * 400 + "}",
    '{"event": "step", "step": 1e999, "loss": 1}',
    '{"event": "step", "step": null, "loss": 1}',
    '{"event": "step", "step": 1, "step_seconds": "NaN"}',
    '{"event": "step", "step": 1, "step_seconds": [1]}',
    '{"event": "plan", "steps": 1' + "0" * 30 + "}",
    '{"event": "plan", "steps": NaN}',
    '{"event": "check", "ok": true, "note": "a\\u0000b\\ud800", "n": 1' + "0" * 30 + "}",
    '{"event": "check", "deep": ' + "[" * 400 + "]" * 400 + "}",
    "[" * 100_000 + "]" * 100_000,
    '{"event": "end", "reason": "failed", "detail": "a\\u0000b\\udfff", "hint": 7}',
    '{"event": "end", "reason": {"a": 1' + "0" * 30 + '}, "detail": ["x"]}',
    '{"event": ["x"]}',
    "[1]",
    "null",
    "\x00\x01",
    "",
]


async def test_no_event_of_a_process_stops_its_run_from_ending(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    hostile = b"\n".join([*(text.encode() for text in HOSTILE), b'\xff\xfe{"event": 1}', b""])
    await follow(hand, left, hostile + step(7, loss=0.5).encode())
    detail = (await api.get(f"{RUNS}/{left[0]}")).json()
    assert detail["status"] == "completed"
    assert detail["metrics"]["loss"] == 0.5, "what can be read is taken in all the same"
    assert [7, 0.5] in (await api.get(f"{RUNS}/{left[0]}/metrics")).json()["series"]["loss"]
    assert (await api.get(RUNS)).status_code == 200


async def test_no_last_word_of_a_process_stops_its_run_from_ending(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    words = [text for text in HOSTILE if '"end"' in text or '"check"' in text]
    for text in words:
        run_id = await run(api, priority=1)
        path = folder(hand.settings, run_id)
        fill(path, {"config.yaml": b"steps: 1\n", "provenance.json": b"{}", "said.txt": text.encode() + b"\n"})
        code = "import shutil; shutil.copy('said.txt', 'events.jsonl'); raise SystemExit(2)"

        def command(_: Path, dry: bool, code: str = code) -> list[str]:
            return [sys.executable, "-S", "-c", code]

        worker = Hand(hand.database, hand.settings, command=command)
        await worker.does(await worker.takes())
        detail = (await api.get(f"{RUNS}/{run_id}")).json()
        assert (detail["status"], detail["exit_code"]) == ("failed", 2), f"{text[:80]}: {detail['status_reason']}"
        assert detail["status_reason"]


# --- thinning ---------------------------------------------------------------------------------------------------


def slowly_thinned(steps: list[int], values: list[float], most: int) -> list[int]:
    """The same by loops: of each bucket its lowest, its highest and its first NaN, and both ends of the whole."""
    if len(steps) <= most:
        return list(range(len(steps)))
    some_nan = any(math.isnan(value) for value in values)
    width = (steps[-1] - steps[0] + 1) / max(1, (most - 2) // (3 if some_nan else 2))
    buckets: dict[int, list[int]] = {}
    for place, number in enumerate(steps):
        buckets.setdefault(int((number - steps[0]) / width), []).append(place)
    kept = {0, len(steps) - 1}
    for places in buckets.values():
        finite = [place for place in places if not math.isnan(values[place])]
        if finite:
            kept |= {min(finite, key=lambda place: (values[place], place))}
            kept |= {min(finite, key=lambda place: (-values[place], place))}
        kept |= set([place for place in places if math.isnan(values[place])][:1])
    return sorted(kept)


@given(
    points=st.lists(
        st.tuples(st.integers(1, 50), st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.0]))),
        min_size=1,
        max_size=150,
    ),
    most=st.integers(4, 60),
)
def test_thinning_keeps_every_extreme(points: list[tuple[int, float]], most: int) -> None:
    steps, number = [], 0
    for gap, _ in points:
        number += gap
        steps.append(number)
    values = [value for _, value in points]
    kept = metrics.thinned(np.array(steps, np.int64), np.array(values, np.float64), most).tolist()
    assert kept == slowly_thinned(steps, values, most)
    assert len(kept) <= max(most, 5)
    finite = [value for value in values if not math.isnan(value)]
    if finite:
        chosen = [values[place] for place in kept if not math.isnan(values[place])]
        assert (min(chosen), max(chosen)) == (min(finite), max(finite))
    assert any(math.isnan(values[place]) for place in kept) is any(math.isnan(value) for value in values)


async def test_many_points_come_thinned_as_asked(api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]) -> None:
    values = [math.sin(number) for number in range(3000)]
    values[1234], values[2345] = 50.0, -50.0
    await follow(hand, left, "".join(step(number, loss=value) for number, value in enumerate(values)))
    url = f"{RUNS}/{left[0]}/metrics"
    found = (await api.get(f"{url}?keys=loss&max_points=50")).json()["series"]["loss"]
    assert len(found) <= 50
    assert [1234, 50.0] in found
    assert [2345, -50.0] in found
    assert (found[0][0], found[-1][0]) == (0, 2999)
    assert len((await api.get(url)).json()["series"]["loss"]) <= 1000
    assert len((await api.get(f"{url}?max_points=3000")).json()["series"]["loss"]) == 3000


async def test_smoothed_values_come_beside_the_measured_ones_and_a_run_that_grows_changes_none(
    api: httpx.AsyncClient, hand: Hand, left: tuple[str, Path]
) -> None:
    url = f"{RUNS}/{left[0]}/metrics"
    random = np.random.default_rng(3)
    values = [*random.normal(size=900).tolist(), math.nan, *random.normal(size=2100).tolist()]
    lines = [step(number, loss=value) for number, value in enumerate(values)]
    await follow(hand, left, "".join(lines[:1500]), End.RELEASED)
    assert "smoothed" not in (await api.get(url)).json(), "only where it is asked for"
    early = (await api.get(f"{url}?keys=loss&smooth=0.9&max_points=100")).json()
    assert early["smoothed"]["amount"] == 0.9
    await follow(hand, left, "".join(lines))
    late = (await api.get(f"{url}?keys=loss&smooth=0.9&max_points=100000")).json()
    assert [value for _, value in late["series"]["loss"]] == [metrics.shown(value) for value in values], "measured"

    total, weight, averages = 0.0, 0.0, {}
    for number, value in enumerate(values):
        total, weight = total * 0.9, weight * 0.9
        if not math.isnan(value):
            total, weight = total + value, weight + 1
            averages[number] = total / weight
    found = dict(late["smoothed"]["series"]["loss"])
    assert found == pytest.approx(averages)
    assert 0 < len(early["smoothed"]["series"]["loss"]) <= 101, "at the steps of the thinned points"
    assert all(found[number] == value for number, value in early["smoothed"]["series"]["loss"]), "the past stays"
    for amount in ("1", "-0.1", "nan"):
        assert (await api.get(f"{url}?smooth={amount}")).status_code == 422


async def test_what_is_kept_in_blocks_is_thinned_as_if_all_points_were_at_hand(
    api: httpx.AsyncClient, database: Database, left: tuple[str, Path]
) -> None:
    random = np.random.default_rng(0)
    known: dict[tuple[str, int], float] = {}
    for _ in range(12):  # batches that overlap, as when an attempt does steps again
        begin, size, gap = (int(random.integers(most)) for most in (2000, 400, 30))
        values = random.normal(size=size)
        values[random.random(size) < 0.02] = math.nan
        values[random.random(size) < 0.02] = math.inf
        batch = {("loss", begin + n * (1 + gap)): float(value) for n, value in enumerate(values)} | {
            ("far", 2**62): 1.0
        }
        known |= batch
        async with database.write() as session:
            await metrics.store(session, 1, batch)
    points = sorted((step, value) for (key, step), value in known.items() if key == "loss")
    for most in (4, 50, 333, 100_000):
        found = (await api.get(f"{RUNS}/{left[0]}/metrics?keys=loss&max_points={most}")).json()["series"]["loss"]
        kept = slowly_thinned([step for step, _ in points], [value for _, value in points], most)
        assert found == [[points[place][0], metrics.shown(points[place][1])] for place in kept]
    async with database.read() as session:
        one = points[7][0]
        assert await metrics.at_step(session, 1, one) == {"loss": metrics.shown(points[7][1])}
        assert await metrics.at_step(session, 1, 2**62) == {"far": 1.0}


async def test_a_migration_packs_the_metrics_that_are_there(
    api: httpx.AsyncClient, database: Database, settings: Settings, left: tuple[str, Path]
) -> None:
    values = {("loss", number * 7): math.nan if number % 50 == 0 else number / 3 for number in range(500)}
    async with database.write() as session:
        await metrics.store(session, 1, values | {("eval_loss", 2**62): -math.inf})
    before = (await api.get(f"{RUNS}/{left[0]}/metrics")).json()
    assert before["series"]["loss"][:2] == [[0, "NaN"], [7, 1 / 3]]
    url = settings.sqlalchemy_url.replace("+aiosqlite", "")
    await asyncio.to_thread(migrations.downgrade, url, "0009")
    await asyncio.to_thread(migrations.upgrade, url)
    assert (await api.get(f"{RUNS}/{left[0]}/metrics")).json() == before
