"""events.jsonl: whole lines, whatever happened to the process before."""

import math
from pathlib import Path

import pytest

from tunix_rt.base.errors import DiskFull
from tunix_rt.training.events import EventLog, number, read, steps


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.emit("step", step=1, loss=0.5)
    log.emit("end", reason="completed")
    log.close()
    assert [event["event"] for event in read(tmp_path / "events.jsonl")] == ["step", "end"]
    assert next(read(tmp_path / "events.jsonl"))["time"].endswith("Z")


def test_an_unfinished_line_is_cut_off_and_never_joined_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event":"step","step":1}\n{"event":"st')
    assert len(list(read(path))) == 1
    log = EventLog(path)
    log.emit("step", step=2)
    log.close()
    assert [event["step"] for event in read(path)] == [1, 2]


def test_a_step_done_again_counts_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for step, loss in ((1, 3.0), (2, 2.0), (2, 1.0), (3, 0.5)):
        log.emit("step", step=step, loss=loss)
    log.close()
    assert [event["loss"] for event in steps(tmp_path / "events.jsonl")] == [3.0, 1.0, 0.5]


def test_a_full_disk_says_so() -> None:
    log = EventLog(Path("/dev/full"))
    with pytest.raises(DiskFull, match="No space left"):
        log.emit("step", step=1)


def test_what_is_not_finite_is_text_and_what_is_none_is_null(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.emit("step", loss=float("nan"), norm=float("inf"), inner={"list": [float("-inf"), 1.5], "none": None})
    log.close()
    [event] = read(path)
    assert (event["loss"], event["norm"]) == ("NaN", "Infinity")
    assert event["inner"] == {"list": ["-Infinity", 1.5], "none": None}
    assert (number(event["norm"]), number(1.5)) == (float("inf"), 1.5)
    assert math.isnan(number(event["loss"]))
