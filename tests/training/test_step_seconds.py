"""`step_seconds`: the time of a step's own work, in both engines, whatever is done between the steps."""

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.training.make_engine import CountingRows, Events, config, job
from tests.training.test_samples import ASKED
from tunix_rt.training.engines import ENGINES, Batch, load
from tunix_rt.training.engines.in_flight import InFlight, Step
from tunix_rt.training.engines.progress import Progress

STEP = 1e6
"""Seconds of a step by the test's clock. JAX times compilations by the real one: a few seconds are nothing to this."""
INTERRUPTED: dict[str, Any] = {"steps": 16, "eval_every_steps": 4, "checkpoint_every_steps": 3}


class Clock:
    """A clock that stands still until a test sets it forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedRows(CountingRows):
    """Rows whose preparation takes `STEP` seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def training(self, step: int, micro: int) -> Batch:
        self._clock.now += STEP
        return super().training(step, micro)


class TimedEvents(Events):
    """Events of evaluations, samples and checkpoints that each took as long as fifty steps."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def __call__(self, event: str, **fields: Any) -> None:
        if event != "step":
            self._clock.now += 50 * STEP
        super().__call__(event, **fields)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slow_evaluation_sample_or_checkpoint_neither_lengthens_nor_shortens_a_step(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    events = TimedEvents(clock)
    chosen = config(**INTERRUPTED)
    load(engine).train(
        job(tmp_path, config=chosen, batches=TimedRows(clock), vocabulary=34, samples=ASKED, emit=events)
    )
    assert {event for event, _ in events.all} == {"step", "eval", "sample", "checkpoint"}
    steps = events.of("step")
    assert [step["step_seconds"] for step in steps] == pytest.approx([STEP] * 16, rel=1e-3)
    assert [step["tokens_per_second"] * STEP for step in steps] == pytest.approx(
        [step["tokens"] for step in steps], rel=1e-3
    )


@pytest.fixture
def cpu_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps are timed by the CPU time of this process, which other processes on a busy machine hardly change."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # several of PyTorch's threads spin while they wait for each other
    gc.disable()  # a collection over all that earlier tests left takes longer than one of these steps
    yield
    gc.enable()


@pytest.mark.usefixtures("cpu_time")
@pytest.mark.parametrize("engine", ENGINES)
def test_every_steps_speed_is_within_a_factor_of_three_of_the_median(engine: str, tmp_path: Path) -> None:
    events = Events()
    rows = CountingRows(batch_size=64, width=96)
    chosen = config(**INTERRUPTED)
    load(engine).train(job(tmp_path, config=chosen, batches=rows, vocabulary=34, samples=ASKED, emit=events))
    # The first step is also the first to touch the memory it needs, which takes longer than a step this small.
    speeds = {step["step"]: step["tokens_per_second"] for step in events.of("step")[1:]}
    assert list(speeds) == list(range(2, 17))
    median = statistics.median(speeds.values())
    assert {step: speed for step, speed in speeds.items() if not median / 3 <= speed <= 3 * median} == {}


def test_compiling_is_reported_with_the_step_that_it_delayed_and_is_not_in_its_seconds(tmp_path: Path) -> None:
    class Widening(CountingRows):
        def training(self, step: int, micro: int) -> Batch:
            self.width = 24 if step < 5 else 40
            return super().training(step, micro)

    events = Events()
    began = time.perf_counter()
    load("tunix").train(job(tmp_path, config=config(steps=8), emit=events, batches=Widening()))
    elapsed = time.perf_counter() - began
    steps = events.of("step")
    assert [step["step"] for step in steps if "compile_seconds" in step] == [1, 5]
    assert 0 < sum(step["step_seconds"] + step.get("compile_seconds", 0) for step in steps) < elapsed


# --- a device that computes while the host prepares the next step -----------------------------------------------


class Device:
    """A device that works off its steps in order, by the clock of its host.

    Args:
        clock: of the host; waiting for a step sets it forward.
        seconds: time that a step takes.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds, self._free_at = clock, seconds, 0.0

    def start(self, step: int) -> Step:
        self._free_at = end = max(self._clock.now, self._free_at) + self._seconds

        def numbers() -> tuple[Sequence[float], float]:
            self._clock.now = max(self._clock.now, end)
            return [1.0], 1.0

        return Step(step, 60, [], lambda: end <= self._clock.now, numbers)


@pytest.mark.parametrize(("host", "device"), [(1.0, 1000.0), (1.0, 3.0), (1.0, 1.0), (3.0, 1.0), (1000.0, 1.0)])
def test_seconds_of_an_accelerators_steps_are_alike_and_add_up_whether_the_host_or_the_device_is_slower(
    tmp_path: Path, host: float, device: float
) -> None:
    clock, events = Clock(), Events()
    progress = Progress(job(tmp_path, emit=events), clock=clock)
    accelerator, in_flight = Device(clock, device), InFlight(progress, depth=1)
    evaluating = 0.0
    for step in range(1, 13):
        clock.now += host
        in_flight.add(accelerator.start(step))
        if step % 4 == 0:
            in_flight.drain()
            clock.now += 500.0
            progress.evaluated(step, 1.0, 7)
            evaluating += 500.0
    seconds = [step["step_seconds"] for step in events.of("step")]
    median = statistics.median(seconds)
    assert median == pytest.approx(max(host, device), rel=0.5)
    assert all(median / 3 <= each <= 3 * median for each in seconds), seconds
    assert sum(seconds) == pytest.approx(clock.now - evaluating)


def test_an_accelerator_gets_its_next_step_before_the_host_waits_for_the_last_one(tmp_path: Path) -> None:
    clock = Clock()
    accelerator, in_flight = Device(clock, 10.0), InFlight(Progress(job(tmp_path), clock=clock), depth=1)
    for step in range(1, 101):
        clock.now += 9.0
        in_flight.add(accelerator.start(step))
    in_flight.drain()
    assert clock.now == 9.0 + 100 * 10.0  # one after the other they would take 1,900
