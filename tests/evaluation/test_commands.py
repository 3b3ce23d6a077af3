"""`tunix-rt evaluate`, `compare` and `leaderboard` as a user meets them."""

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.make import answers, jsonl, questions
from tests.test_cli import Shell
from tunix_rt.evaluation import statistics


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with an eval set and three sets of predictions beside it."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "runs" / "good").mkdir(parents=True)
    for name, rows in {
        "Sums (eval).jsonl": questions(),
        "good.jsonl": answers(right=lambda i: i < 38),
        "weak.jsonl": answers(right=lambda i: i < 4),
        "runs/good/predictions.jsonl": answers(39),
        "other.jsonl": [{"id": "nobody", "output": "1"}],
    }.items():
        (folder / name).write_bytes(jsonl(rows))
    for name, content in {
        "empty": b"",
        "latin": b'{"id": "q0", "output": "\xe9"}',
        "cut": jsonl(answers())[:200],
    }.items():
        (folder / f"{name}.jsonl").write_bytes(content)
    (folder / "doubled.jsonl").write_bytes(jsonl([*answers(right=lambda i: i < 4), *answers()[4:]]))
    label = {"id": "l", "prompt": "?", "output": "1", "label": 1}
    (folder / "labels.jsonl").write_bytes(jsonl([label, label | {"id": "m"}, label]))
    (folder / "typo.jsonl").write_bytes(jsonl([answers()[0], {"id": "q1", "outptu": "1"}]))
    return Shell(folder)


EVAL_SET = ("--eval-set", "Sums (eval).jsonl")


def test_evaluate_answers_in_the_documents_shape(shell: Shell) -> None:
    found = shell.json("evaluate", *EVAL_SET, "--predictions", "good.jsonl")
    assert found["judge"] == "answer_correctness"
    assert (found["n_items"], found["n_scored"], found["n_missing"], found["n_unscored"]) == (40, 40, 0, 0)
    assert (found["n_correct"], found["score"], found["name"]) == (38, 0.95, "good")
    assert found["ci"] == list(statistics.wilson(38, 40) or ())
    assert len(found["items"]) == 40
    assert found["items"][39] == {
        "id": "q39",
        "sample": 0,
        "score": 0,
        "extracted": "1039",
        "rule": "answer",
        "reason": "another number than expected",
        "outcome": "wrong",
    }
    assert {group["value"] for group in found["scorecard"]["section"]} == {"even", "odd"}


def test_evaluate_says_what_is_missing_and_how_far_the_figure_can_be_trusted(shell: Shell) -> None:
    done = shell("evaluate", *EVAL_SET, "--predictions", "runs/good/predictions.jsonl")
    assert done.returncode == 0
    assert "runs/good/predictions on sums-eval" in done.stdout
    assert "97.5 %  (39 of 40; 95 % interval 87.1 to 99.6)" in done.stdout
    assert "missing 1, unscored 0" in done.stdout
    assert "1 item without a prediction" in done.stderr


def test_compare_files(shell: Shell) -> None:
    found = shell.json("compare", *EVAL_SET, "weak.jsonl", "good.jsonl")
    assert (found["n"], found["a"], found["b"], found["difference"]) == (40, 0.1, 0.95, 34 / 40)
    assert (found["fixed"], found["broken"], found["verdict"]) == (34, 0, "better")
    assert found["p_value"] == statistics.mcnemar(34, 0)
    assert found["test"] == "exact McNemar, two-sided"
    assert 0 < found["ci"][0] < found["difference"] < found["ci"][1] < 1
    said = shell("compare", *EVAL_SET, "good.jsonl", "weak.jsonl").stdout
    assert "verdict: B is worse than A" in said
    assert "difference -85.0 points" in said


def test_compare_stored_evaluations_and_show_the_board(shell: Shell) -> None:
    ids = [
        shell.json("evaluate", *EVAL_SET, "--predictions", f"{name}.jsonl", "--temperature", "0")["id"]
        for name in ("weak", "good")
    ]
    assert shell.json("compare", *ids)["verdict"] == "better"
    shown = shell("leaderboard", *EVAL_SET).stdout.splitlines()
    start = next(place for place, line in enumerate(shown) if line.endswith(", greedy, samples not stated"))
    rows = [line.split("\t") for line in shown[start + 1 : start + 4]]
    assert rows[0][:3] == ["rank", "name", "score"]
    assert [row[:3] for row in rows[1:]] == [["1", "good", "95.0 %"], ["2", "weak", "10.0 %"]]
    boards: Any = shell.json("leaderboard", "--eval-set", "sums-eval", "--judge", "answer_correctness")["boards"]
    assert all(board["eval_set"] == "sums-eval" for board in boards)
    assert shell.json("leaderboard", "--model", "nobody")["boards"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("evaluate", *EVAL_SET, "--predictions", "empty.jsonl"), 1, "empty.jsonl:1: "),
        (("evaluate", *EVAL_SET, "--predictions", "latin.jsonl"), 1, "latin.jsonl:1: not UTF-8"),
        (("evaluate", *EVAL_SET, "--predictions", "cut.jsonl"), 1, "is the text cut off?"),
        (("evaluate", *EVAL_SET, "--predictions", "typo.jsonl"), 1, "typo.jsonl:2: outptu: unknown field. Did you"),
        (
            ("evaluate", *EVAL_SET, "--predictions", "doubled.jsonl"),
            1,
            "doubled.jsonl:41: repeats id 'q4' (sample 0), first on line 5\n",
        ),
        (("evaluate", *EVAL_SET, "--predictions", "doubled.jsonl"), 1, "36 lines repeat an answer"),
        (("evaluate", *EVAL_SET, "--predictions", "doubled.jsonl"), 1, 'take "sample": 0, 1, 2'),
        (("compare", *EVAL_SET, "good.jsonl", "doubled.jsonl"), 1, "doubled.jsonl:50: repeats id 'q13' (sample 0)"),
        (("judge", "compare", *EVAL_SET, "good.jsonl", "doubled.jsonl"), 1, "doubled.jsonl:41: repeats id 'q4'"),
        (("judge", "calibrate", "--labels", "labels.jsonl"), 1, "labels.jsonl:3: repeats id 'l', first on line 1"),
        (("evaluate", *EVAL_SET, "--predictions", "other.jsonl"), 1, "another eval set"),
        (("evaluate", *EVAL_SET, "--predictions", "none.jsonl"), 3, "no file none.jsonl"),
        (("evaluate", *EVAL_SET, "--predictions", "runs"), 1, "is a folder"),
        (("evaluate", "--eval-set", "good.jsonl", "--predictions", "good.jsonl"), 1, "good.jsonl:1: "),
        (("evaluate", "--eval-set", "nothing", "--predictions", "good.jsonl"), 3, "no eval set 'nothing'"),
        (("evaluate", *EVAL_SET, "--predictions", "good.jsonl", "--judge", "exakt"), 1, "No judge named 'exakt'"),
        (("evaluate", *EVAL_SET), 2, "Missing option"),
        (("compare", *EVAL_SET, "good.jsonl", "typo.jsonl"), 1, "typo.jsonl:2: "),
        (("compare", "good.jsonl", "weak.jsonl"), 2, "--eval-set"),
        (("compare", *EVAL_SET, "good.jsonl", "01a203fd"), 2, "one is a file"),
        (("compare", "zz", "01a203fd"), 1, "not the id of an evaluation"),
        (("compare", "ffffffff", "eeeeeeee"), 3, "no evaluation"),
        (("leaderboard", "--eval-set", "nothing"), 3, "no eval set 'nothing'"),
        (("leaderboard", "--judge", "exakt"), 1, "No judge named 'exakt'"),
    ],
)  # fmt: skip
def test_an_error_names_the_place_and_the_remedy(shell: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    done = shell(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_another_eval_set_of_the_same_file_name_is_stored_beside(shell: Shell, tmp_path: Path) -> None:
    shell.json("evaluate", *EVAL_SET, "--predictions", "good.jsonl")  # the name is taken, whichever test came first
    other = tmp_path / "Sums (eval).jsonl"
    other.write_bytes(jsonl(questions(35)))
    found = shell.json("evaluate", "--eval-set", other, "--predictions", "good.jsonl")
    assert found["eval_set"].startswith("eval-")
    assert (found["n_items"], found["n_unknown"]) == (35, 5)


def test_hostile_text_does_not_reach_the_terminal(shell: Shell) -> None:
    lines = answers()
    lines[0]["output"] = "Answer: \x1b[2J\x1b]0;owned\x07"
    (shell.folder / "hostile.jsonl").write_bytes(jsonl(lines))
    name = "evil\u202ename"
    evaluated = shell("evaluate", *EVAL_SET, "--predictions", "hostile.jsonl", "--name", name)
    compared = shell("compare", *EVAL_SET, "good.jsonl", "hostile.jsonl")
    board = shell("leaderboard", *EVAL_SET)
    for done in (evaluated, compared, board):
        assert done.returncode == 0, done.stderr
        assert not any(char in done.stdout for char in "\x1b\x07\u202e")
    assert "evil\\u202ename" in evaluated.stdout
    assert "evil\\u202ename" in board.stdout
    (shell.folder / "key.jsonl").write_bytes(jsonl([{"id": "q0", "output": "1", "\x1b[2J": 1}]))
    assert "\x1b[2J" not in shell("evaluate", *EVAL_SET, "--predictions", "key.jsonl").stderr


def test_few_changes_are_allowed_for_and_a_verdict_takes_interval_and_test(shell: Shell) -> None:
    found = shell.json("compare", *EVAL_SET, "good.jsonl", "runs/good/predictions.jsonl")
    assert (found["verdict"], found["note"]) == ("inconclusive", None)
    assert found["ci"][0] < 0 < found["difference"] < found["ci"][1]  # one item was fixed
    (shell.folder / "five.jsonl").write_bytes(jsonl(answers(right=lambda i: i < 33)))
    close = shell.json("compare", *EVAL_SET, "five.jsonl", "good.jsonl")
    assert (close["fixed"], close["broken"], close["p_value"], close["verdict"]) == (5, 0, 0.0625, "inconclusive")
    assert close["ci"][0] > 0
    assert close["note"] in shell("compare", *EVAL_SET, "five.jsonl", "good.jsonl").stdout


def test_evaluations_are_listed_shown_judged_again_and_verified(shell: Shell) -> None:
    made = shell.json("evaluate", *EVAL_SET, "--predictions", "weak.jsonl", "--name", "listed")
    listed = shell.json("evaluations", "list")["evaluations"]
    assert made["id"] in [row["id"] for row in listed]
    assert shell.json("evaluations", "show", made["id"])["score"] == made["score"]
    wrong = shell.json("evaluations", "items", made["id"], "--outcome", "wrong", "--sort", "-score")["items"]
    assert (len(wrong), {row["outcome"] for row in wrong}) == (20, {"wrong"})
    again = shell.json("evaluations", "judge", made["id"], "--judge", "answer_correctness")
    assert (again["id"] != made["id"], again["score"], again["name"]) == (True, made["score"], "listed")
    verified = shell("evaluations", "verify", made["id"])
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "all the same")
