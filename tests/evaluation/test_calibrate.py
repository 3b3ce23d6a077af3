"""What a judge is worth against human labels. Expected figures are by hand, or by a second way."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from scipy import stats

from tests.evaluation.llm_server import Server, output_of, says, serving, verdict
from tests.evaluation.make import jsonl
from tests.test_cli import Shell
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges.calibrate import LabelLine, calibrate, kappa, length_bias, length_difference
from tunix_rt.evaluation.statistics import wilson


def rows(both: int, accepted: int, rejected: int, neither: int, **more: Any) -> list[dict[str, Any]]:
    """Labelled outputs: accepted and right, accepted and wrong, rejected and right, rejected and wrong."""
    kinds = [(1, 1)] * both + [(1, 0)] * accepted + [(0, 1)] * rejected + [(0, 0)] * neither
    return [
        {"id": f"q{i}", "prompt": f"What is {i}?", "expected_answer": "1", "output": f"Answer: {says_}", "label": label}
        | more
        for i, (says_, label) in enumerate(kinds)
    ]


def labels(*counts: int) -> list[LabelLine]:
    return [LabelLine.model_validate(row) for row in rows(*counts)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_agreement_and_kappa_are_those_of_the_textbook(settings: Settings) -> None:
    found = calibrate(labels(20, 5, 10, 15), "answer_correctness", settings)  # Cohen's example: 0.7 and 0.4
    assert found.table == (20, 5, 10, 15)
    assert (found.agreement.value, found.agreement.ci) == (0.7, wilson(35, 50))
    assert found.kappa.value == pytest.approx(0.4, abs=1e-12)
    assert (found.repeated.value if found.repeated else None) == 1
    assert (found.swapped, found.preferred) == (None, None)


def test_kappas_interval_is_near_the_analytic_one(settings: Settings) -> None:
    found = calibrate(labels(200, 50, 100, 150), "answer_correctness", settings)
    n, agreement, chance = 500, 0.7, 0.5
    error = math.sqrt(agreement * (1 - agreement) / n) / (1 - chance)  # Cohen 1960, equation 9
    assert found.kappa.ci is not None
    assert found.kappa.ci[0] == pytest.approx(0.4 - 1.96 * error, abs=0.02)
    assert found.kappa.ci[1] == pytest.approx(0.4 + 1.96 * error, abs=0.02)


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_interval(settings: Settings) -> None:
    lines = labels(20, 5, 10, 15)
    first, again, other = (calibrate(lines, "answer_correctness", settings, 1, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.kappa.ci != other.kappa.ci
    assert first.repeated is None


@pytest.mark.parametrize("counts", [(5, 0, 0, 0), (0, 0, 0, 5), (0, 5, 0, 0)])
def test_what_is_all_of_one_kind_has_no_kappa_or_no_agreement_beyond_chance(
    settings: Settings, counts: tuple[int, ...]
) -> None:
    found = calibrate(labels(*counts), "answer_correctness", settings)
    assert found.kappa.value in (None, 0)
    assert found.length_bias.value is None
    assert found.length_difference.value is None


def test_unscored_items_count_nowhere_but_as_unscored(settings: Settings) -> None:
    lines = [*labels(2, 0, 0, 2), LabelLine(id="x", prompt="?", expected_answer="", output="1", label=1)]
    found = calibrate(lines, "answer_correctness", settings)
    assert (found.n_items, found.n_unscored, found.agreement.n) == (5, 1, 4)
    nothing = calibrate(lines[-1:], "answer_correctness", settings)
    assert (nothing.agreement.value, nothing.kappa.value, nothing.length_bias.value) == (None, None, None)


def test_length_bias_is_the_correlation_of_error_and_length(settings: Settings) -> None:
    random = np.random.default_rng(0)
    lines = []
    for number in range(120):
        length = int(random.integers(1, 2000))
        long = length > 1000  # the judge will accept what is long, whatever people say
        lines.append(
            LabelLine(
                id=str(number),
                prompt="?",
                expected_answer="1",
                output="x" * length + f"\nAnswer: {int(long)}",
                label=1 if random.random() < 0.5 else 0,
            )
        )
    found = calibrate(lines, "answer_correctness", settings)
    errors = [float(line.output.endswith("1")) - line.label for line in lines]
    expected = stats.pearsonr(errors, np.log1p([len(line.output) for line in lines])).statistic
    assert found.length_bias.value == pytest.approx(expected, abs=1e-12)
    assert found.length_bias.ci is not None
    assert 0.3 < found.length_bias.ci[0] < expected < found.length_bias.ci[1]
    accepted = [len(line.output) for line, error in zip(lines, errors, strict=True) if error == 1]
    rejected = [len(line.output) for line, error in zip(lines, errors, strict=True) if error == -1]
    assert found.length_difference.value == pytest.approx(np.mean(accepted) - np.mean(rejected), abs=1e-9)
    welch = stats.ttest_ind(accepted, rejected, equal_var=False).confidence_interval()
    assert found.length_difference.ci == pytest.approx((welch.low, welch.high), rel=1e-9)
    fisher = stats.pearsonr(errors, np.log1p([len(line.output) for line in lines])).confidence_interval()
    assert found.length_bias.ci == pytest.approx((fisher.low, fisher.high), abs=1e-9)


def test_the_length_of_a_few_wrong_verdicts_says_nothing() -> None:
    error, length = np.array([1.0] * 4 + [0.0] * 40), np.arange(44.0)
    assert (length_bias(error, length).value, length_difference(error, length).value) == (None, None)
    error[40:] = -1
    assert length_bias(error, length).ci is not None
    assert length_difference(error, length).value is None
    welch = stats.ttest_ind(length[:5], length[39:], equal_var=False).confidence_interval()
    error[[4, 39]] = 1, -1
    assert length_difference(error, length).ci == pytest.approx((welch.low, welch.high), rel=1e-9)


@pytest.mark.parametrize(("table", "n"), [((0.6, 0.01, 0.01, 0.38), 30)])
def test_kappas_interval_covers_where_hardly_any_verdict_is_wrong(
    table: tuple[float, ...], n: int, settings: Settings
) -> None:
    truth = kappa(np.array([table]))[0]
    drawn, times = np.unique(np.random.default_rng(n).multinomial(n, table, 300), axis=0, return_counts=True)
    found = [calibrate(labels(*map(int, counts)), "answer_correctness", settings, 1).kappa.ci for counts in drawn]
    covered = np.array([ci is None or ci[0] <= truth <= ci[1] for ci in found])
    assert (covered @ times) / times.sum() >= 0.93


def test_kappa_of_many_tables_is_that_of_each() -> None:
    tables = np.array(list(itertools.product((0.0, 1.0, 3.0), repeat=4))[1:])
    for table, value in zip(tables, kappa(tables), strict=True):
        a, b, c, d = table / table.sum()
        chance = (a + b) * (a + c) + (c + d) * (b + d)
        if chance == 1:
            assert np.isnan(value)
        else:
            assert value == pytest.approx((a + d - chance) / (1 - chance), abs=1e-12)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def at(server: Server, home: Path) -> Settings:
    return Settings(home=home, judge_url=server.url, judge_model="m", judge_key=SecretStr("EMPTY"))


def test_an_llm_is_asked_anew_each_time_and_for_pairs_in_both_orders(server: Server, tmp_path: Path) -> None:
    turns = itertools.count()

    def reply(body: dict[str, Any]) -> Any:
        if "FIRST OUTPUT" in body["messages"][1]["content"]:  # it likes the first, but for an output that is empty
            return says(verdict(body, "second" if output_of(body, "FIRST OUTPUT") == "nothing" else "first"))
        return says(verdict(body, 9 if next(turns) % 2 else 2))

    server.reply = reply
    lines = [
        LabelLine(id=name, prompt=prompt, expected_answer="1", output=output, label=label)
        for name, prompt, output, label in (
            ("a", "first", "1", 1),
            ("b", "first", "nothing", 0),
            ("c", "second", "1", 1),
            ("d", "second", "2", 0),
            ("e", "third", "1", 1),
        )
    ]
    found = calibrate(lines, "llm:concurrency=1,attempts=1", at(server, tmp_path), repeats=2)
    assert found.judge == "llm:model=m"
    assert found.repeated is not None
    assert (found.repeated.value, found.repeated.n) == (0, 5)  # five are odd: each gets the other verdict
    assert found.swapped is not None
    assert found.preferred is not None
    assert (found.swapped.value, found.preferred.value, found.swapped.n) == (0.5, 0.5, 2)
    before = len(server.asked)
    calibrate(lines, "llm:concurrency=1,attempts=1", at(server, tmp_path), repeats=2)
    assert len(server.asked) == before == 5 * 2 + 2 * 2


def test_calibrate_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_bytes(jsonl(rows(20, 5, 10, 15)))
    shell = Shell(tmp_path)
    found = shell.json("judge", "calibrate", "--labels", "labels.jsonl")
    assert (found["judge"], found["n_items"], found["n_unscored"], found["table"]) == (
        "answer_correctness", 50, 0, [20, 5, 10, 15]
    )  # fmt: skip
    assert found["kappa"]["value"] == pytest.approx(0.4)
    assert found["swapped"] is None
    said = shell("judge", "calibrate", "--labels", "labels.jsonl", "--judge", "numeric:tolerance=2").stdout
    assert "numeric:tolerance=2.0 1 (sha256:" in said
    assert "agreement\t60 %\t46.18 to 72.39" in said
    assert "same preference in both orders\tnot asked" in said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("line", "says_"),
    [
        ({"label": 2}, "label"),
        ({"label": "1"}, "label"),
        ({"output": None}, "output"),
        ({"answer": "1"}, "answer"),
    ],
)
def test_bad_labels_are_named_by_their_line(tmp_path: Path, line: dict[str, Any], says_: str) -> None:
    (tmp_path / "labels.jsonl").write_bytes(jsonl([*rows(1, 0, 0, 1), rows(1, 0, 0, 0)[0] | line]))
    done = Shell(tmp_path)("judge", "calibrate", "--labels", "labels.jsonl")
    assert done.returncode == 1
    assert "labels.jsonl:3" in done.stderr
    assert says_ in done.stderr
    missing = Shell(tmp_path)("judge", "calibrate", "--labels", "none.jsonl")
    assert missing.returncode == 3
