"""`tunix-rt runs logs`: every byte once and in order, whatever the network does."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from unittest import mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.background import ignoring_sigint
from tests.logserver import Answer, Server, document, log_event, serving
from tests.test_cli import Shell
from tunix_rt.cli import follow
from tunix_rt.cli.follow import Event, Parser

PATIENCE_SECONDS = 240.0
RUN = "019b0c0e-1234-7000-8000-000000000001"
TEXT = (
    "loss 0,5 € \u2028 \x85 \x0b event: log\n\ndata: {}\r\n50%\r100%\n\x00\x1b[31mred\x1b[0m\x1b]52;c;aGk=\x07 😀\n"
).encode()


def output(count: int = 60, seed: int = 1) -> list[tuple[str, bytes]]:
    """What a run printed, cut anywhere: between the bytes of a character too, and with bytes that are none."""
    chance = random.Random(seed)
    whole = (TEXT + bytes(chance.randrange(256) for _ in range(50)) + b"x" * 2000 + b"\n") * 4
    cuts = [0, *sorted(chance.sample(range(1, len(whole)), count - 1)), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(cuts)]
    return [(chance.choice(["stdout", "stderr"]), piece) for piece in pieces]


def printed(server: Server, stream: str) -> bytes:
    return b"".join(chunk for name, chunk in server.output if name == stream)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(output=output()) as found:
        yield found


def start(server: Server, *words: str, background: bool = False) -> "subprocess.Popen[bytes]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNIX_RT_")}
    command = [sys.executable, "-m", "tunix_rt.cli.main", "--url", server.url, "runs", "logs", RUN, *words]
    command = ignoring_sigint(command) if background else command
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=kept)


def read(server: Server, *words: str) -> tuple[int, bytes, bytes]:
    process = start(server, *words)
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    return process.returncode, out, err


def test_raw_output_is_what_the_run_wrote_byte_for_byte(server: Server) -> None:
    assert read(server, "--raw", "-f") == (0, printed(server, "stdout"), printed(server, "stderr"))
    assert server.asked[0].target == f"/api/tunix/runs/{RUN}/logs"


def test_any_disconnects_drop_and_repeat_nothing(server: Server) -> None:
    chance = random.Random(7)
    in_character = server.stream(0, Answer()).index("€".encode()) + 1
    server.answers = [
        Answer(cut_at=in_character, pieces=7),
        *(Answer(cut_at=chance.randrange(1, 6000), repeat=chance.randrange(4)) for _ in range(4)),
        Answer(status=503, content=b"busy", kind="text/plain"),
        Answer(content=b": heartbeat\n\n" * 3),
        Answer(unclosed=True, cut_at=3000),
        Answer(repeat=1000, pieces=1000),
    ]
    code, out, err = read(server, "--raw", "-f")
    assert (code, out) == (0, printed(server, "stdout"))
    talk = [line for line in err.splitlines(keepends=True) if line.startswith(b"Connection lost")]
    assert talk
    assert b"Ctrl-C stops watching" in talk[0]
    asked = [int(request.headers["last-event-id"]) for request in server.asked if "last-event-id" in request.headers]
    assert asked == sorted(asked)
    assert not server.answers


def test_a_restart_of_the_server_is_survived_and_said_once(server: Server) -> None:
    server.answers = [Answer(cut_at=2500, stops=True), Answer(status=503, content=b"busy", kind="text/plain")]
    process = start(server, "--raw", "-f")
    assert process.stderr is not None
    assert any(b"Connection lost" in line for line in process.stderr)  # that may follow half a line of the run
    server.start()
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (0, printed(server, "stdout"))
    assert b"Connection lost" not in err


def test_without_follow_what_is_there_is_printed_and_no_more_is_waited_for(server: Server) -> None:
    server.answers = [Answer(unclosed=True)]
    code, out, err = read(server, "--raw")
    assert (code, out) == (0, printed(server, "stdout"))
    assert server.asked[0].query == {"follow": "false"}
    assert f"tunix-rt runs logs {RUN} -f --since-seq 60".encode() in err


def test_output_is_made_harmless_where_it_is_not_raw(server: Server) -> None:
    server.output = [("stdout", TEXT[:9]), ("stdout", TEXT[9:])]
    code, out, err = read(server, "-f")
    shown = TEXT.decode().replace("\x1b[31mred\x1b[0m", "red")
    for bad in "\u2028\x85\x0b\x00\x1b\x07":
        shown = shown.replace(bad, bad.encode("unicode_escape").decode())
    assert (code, out.decode(), err) == (0, shown, b"[running]\n")


def test_interrupted_it_ends_with_130_and_says_that_the_run_goes_on(server: Server) -> None:
    server.answers = [Answer(content=log_event(1, "stdout", b"first\n") + b": heartbeat\n\n" * 10**6, pieces=14)]
    process = start(server, "-f")
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert f"tunix-rt runs cancel {RUN}".encode() in err
    assert b"Traceback" not in err


def test_ctrl_c_leaves_a_viewer_alone_that_was_started_in_the_background(server: Server) -> None:
    server.answers = [Answer(content=log_event(1, "stdout", b"first\n") + b": heartbeat\n\n" * 10**6, pieces=14)]
    process = start(server, "-f", background=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGTERM


# --- in this process --------------------------------------------------------------------------------------------


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.environment["TUNIX_RT_URL"] = server.url
    return found


def test_a_silent_connection_is_given_up(server: Server, shell: Shell) -> None:
    server.output = [("stdout", b"all\n")]
    server.answers = [Answer(silent=True), Answer(silent=True)]
    with mock.patch.object(follow, "SILENCE_SECONDS", 0.1):
        done = shell("runs", "logs", RUN, "-f")
    assert (done.returncode, done.stdout) == (0, "all\n")
    assert done.stderr.count("Connection lost (ReadTimeout)") == 1


def test_json_is_a_line_for_each_event(server: Server, shell: Shell) -> None:
    done = shell("runs", "logs", RUN, "--since-seq", 58, "-f", "--json")
    events = [orjson.loads(line) for line in done.stdout.encode().split(b"\n")[:-1]]
    assert [event["event"] for event in events] == ["status", "log", "log", "end"]
    assert [event.get("seq") for event in events] == [None, 59, 60, None]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "answer", "code", "says"),
    [
        (["-f"], document({"code": "not_found", "detail": "There is no run 019b."}, 404), 3, "There is no run"),
        (["-f"], Answer(content=b"<html>", kind="text/html"), 1, "Is TUNIX_RT_URL a Tunix RT server?"),
        (["-f"], Answer(content=b"event: log\ndata: {}\n\n"), 1, "of the same release?"),
        ([], Answer(status=503, content=b"busy", kind="text/plain"), 1, "answered 503"),
        ([], Answer(cut_at=1000), 1, "No answer from"),
        (["--raw", "--json"], Answer(), 2, "exclude each other"),
    ],
)
def test_what_cannot_be_read_is_told(
    server: Server, shell: Shell, words: list[str], answer: Answer, code: int, says: str
) -> None:
    server.answers = [answer]
    done = shell("runs", "logs", RUN, *words)
    assert done.returncode == code
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_was_never_there_is_not_waited_for(server: Server, shell: Shell) -> None:
    server.stop()
    done = shell("runs", "logs", RUN, "-f")
    assert (done.returncode, "Is the server running?" in done.stderr) == (1, True)


@given(st.lists(st.integers(0, 400), max_size=10), st.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int], end: str) -> None:
    events = [Event("log", '{"a":"\u2028\x85\r"}'.encode()), Event("message", b"1\n2"), Event("end", b"")]
    stream = end.join(
        [
            *(": beat", "", "event: log", "id: 1", f"data: {events[0].data.decode()}", "", "", "event: unsaid", ""),
            *("retry: 3", "data:1", "data: 2", "", "event: end", "data", "", "event: log", "data: cut"),
        ]
    ).encode()
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = Parser()
    found = [event for begin, stop in pairwise(ends) for event in parser.feed(stream[begin:stop])]
    assert found == events
