"""What is said and decided around a step, whatever engine computes it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.make_engine import CountingRows, Events, config, job
from tunix_rt.base.errors import Failed
from tunix_rt.training.engines.guards import SMOOTHED_STEPS, STALL_STEPS, Guards
from tunix_rt.training.engines.progress import Progress


def progress(folder: Path, events: Events | None = None, **changes: Any) -> Progress:
    chosen = config(**changes)
    return Progress(job(folder, config=chosen, emit=events or Events()), clock=iter(range(10**6)).__next__)


def watched(losses: Iterator[float], guards: Guards | None = None, first: int = 1) -> list[tuple[int, str]]:
    guards = guards or Guards(1000)
    return [
        (step, warning["kind"])
        for step, loss in enumerate(losses, first)
        for warning in guards.stepped(step, loss, 1.0)
    ]


def test_a_step_is_told_with_its_figures(tmp_path: Path) -> None:
    events = Events()
    progress(tmp_path, events).stepped(3, 60, [1.0, 2.0], 0.5)
    assert events.of("step") == [
        {
            "step": 3,
            "epoch": 0.3,
            "loss": 1.5,
            "learning_rate": 0.02,
            "grad_norm": 0.5,
            "tokens": 60,
            "tokens_per_second": 60.0,
            "step_seconds": 1,
        }
    ]


def test_a_loss_that_is_not_finite_names_its_micro_batch_and_the_traces_in_it(tmp_path: Path) -> None:
    events = Events()
    with pytest.raises(Failed, match=r"^Step 1: the loss is inf, .* micro-batch 2 of 2: traces c, d\.$"):
        progress(tmp_path, events).stepped(1, 9, [1.0, math.inf], 1.0, [("a", "b"), ("c", "d")])
    assert len(events.of("step")) == 1  # told before it ends the training
    many = [f"t{number}" for number in range(9)]
    with pytest.raises(Failed, match=r"norm nan; .* micro-batch 1 of 1: traces t0, .*, t7 and 1 more\.$"):
        progress(tmp_path).stepped(1, 9, [1.0], math.nan, [many])
    with pytest.raises(Failed, match=r"the loss is nan"):
        progress(tmp_path).stepped(1, 9, [math.inf, -math.inf], 1.0)


def test_a_loss_that_rises_far_over_its_lowest_is_warned_of_once_an_episode() -> None:
    falling = [4 - 3 * step / 99 for step in range(100)]
    told = watched(iter([*falling, *[3.0] * 60, *falling[50:], *[1.0] * 30, *[4.0] * 40]))
    assert [kind for _, kind in told] == ["divergence", "divergence"]
    assert 100 < told[0][0] < 120
    assert told[1][0] > 240


def test_noise_is_no_divergence_and_a_loss_near_nothing_may_double() -> None:
    assert watched(iter([1 + 0.4 * (-1) ** step for step in range(200)])) == []
    assert watched(iter([0.01] * 100 + [0.04] * 100)) == []


def test_a_loss_that_falls_no_more_is_warned_of_once_until_it_falls_again() -> None:
    told = watched(iter([2.0] * 800 + [1.0] * 50))
    first = SMOOTHED_STEPS + max(STALL_STEPS, 333)
    assert told == [(first, "stall")]
    assert watched(2 - step / 600 for step in range(1000)) == []


def test_a_step_that_hangs_is_warned_of_and_one_that_is_delayed_for_seconds_is_not() -> None:
    guards = Guards(100)
    seconds = {1: 40.0, 20: 12.0, 30: 50.0}  # the first has no median to be compared with
    told = {step: guards.stepped(step, 1.0, seconds.get(step, 0.5)) for step in range(1, 40)}
    assert [step for step, warnings in told.items() if warnings] == [30]
    assert (told[30][0]["kind"], told[30][0]["seconds"], told[30][0]["median_seconds"]) == ("slow_step", 50.0, 0.5)


def test_guards_go_on_from_their_state_as_if_nothing_had_been() -> None:
    losses = [2.0] * 330 + [4.0] * 40 + [2.0] * 400
    for cut in (5, 100, 340, 355, 400, 600):
        before = Guards(1000)
        one = watched(iter(losses[:cut]), before)
        after = Guards(1000, json.loads(json.dumps(before.state())))
        assert one + watched(iter(losses[cut:]), after, cut + 1) == watched(iter(losses))


def test_the_training_ends_early_after_evaluations_without_a_new_lowest_loss(tmp_path: Path) -> None:
    made = progress(tmp_path, early_stopping_evals=2)
    for step, loss in ((1, 3.0), (2, 2.0), (3, 2.5), (4, 1.9), (5, 1.9)):
        made.evaluated(step, loss, 7)
        assert not made.stopping
    resumed = Progress(job(tmp_path, config=config(early_stopping_evals=2)), 5, json.loads(json.dumps(made.state())))
    for one in (made, resumed):
        one.evaluated(6, 2.0, 7)
        assert (one.stopping, one.stopped_early, one.best_step) == (True, True, 4)
        assert one.checkpoint_due(6)


def test_a_checkpoint_is_due_at_its_steps_at_a_new_best_and_on_a_wish(tmp_path: Path) -> None:
    wishes = iter([False, True, False, False])
    chosen = config(keep_best=True, checkpoint_every_steps=4)
    made = Progress(job(tmp_path, config=chosen, saving=wishes.__next__))
    assert [made.checkpoint_due(step) for step in (1, 2)] == [False, True]
    made.evaluated(3, 1.0, 7)
    assert made.checkpoint_due(3)
    made.saved(4, tmp_path / "checkpoints" / "step-00000004")
    assert not made.checkpoint_due(4)  # it is there


def test_nothing_is_evaluated_without_a_split_for_it(tmp_path: Path) -> None:
    made = Progress(job(tmp_path, batches=CountingRows(evaluation=0)))
    assert [made.evaluation_due(step) for step in (4, 10)] == [False, False]
    made = Progress(job(tmp_path))
    assert [made.evaluation_due(step) for step in (3, 4, 10)] == [False, True, True]
