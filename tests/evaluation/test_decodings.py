"""Predictions that say how they were decoded: over HTTP on both databases, and on the command line."""

import json
from typing import Any

import httpx
import pytest

from tests.evaluation.make import answers, decoded_lines, evaluate, jsonl, questions, sidecar_of, store, write_described
from tests.evaluation.test_boards import boards, names
from tests.test_cli import Shell
from tunix_rt.evaluation import files
from tunix_rt.evaluation.schemas import EvalItemLine
from tunix_rt.training.decoding import Decoding

GREEDY, WARM = Decoding(), Decoding(temperature=1.5, seed=7)
ITEMS = "sha256:" + "0" * 64


async def upload(
    api: httpx.AsyncClient, eval_set: str, content: bytes, sidecar: Any = None, name: str = "m", **query: Any
) -> httpx.Response:
    """Upload predictions as a form, with their sidecar where there is one."""
    parts = {"predictions": ("p.jsonl", content)}
    if sidecar is not None:
        parts["meta"] = ("p.jsonl.meta.json", sidecar if isinstance(sidecar, bytes) else json.dumps(sidecar).encode())
    return await api.post("/api/evaluations", params={"name": name, "eval_set": eval_set, **query}, files=parts)


async def test_two_decodings_are_on_two_boards_and_files_that_say_nothing_on_a_third(api: httpx.AsyncClient) -> None:
    made = await store(api)
    for decoding, name in ((GREEDY, "greedy"), (WARM, "warm")):
        content = decoded_lines(decoding)
        answer = await upload(api, made["name"], content, sidecar_of(content, decoding, eval_set=made["digest"]), name)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert (found["decoding_digest"], found["model_id"]) == (decoding.digest, "small")
        assert found["decoding"] == {
            "temperature": decoding.temperature, "max_new_tokens": 256, "samples": 1, "top_p": None, "top_k": None,
            "seed": 7 if decoding is WARM else None,
        }  # fmt: skip
    await evaluate(api, "silent", answers(), made["name"])
    assert [(names(board), board["decoding_digest"]) for board in await boards(api)] == [
        ([("silent", 1)], "unknown"), ([("warm", 1)], WARM.digest), ([("greedy", 1)], GREEDY.digest),
    ]  # fmt: skip


async def test_a_file_without_its_sidecar_is_placed_by_the_digest_in_its_lines(api: httpx.AsyncClient) -> None:
    made = await store(api)
    alone = await evaluate(
        api, "alone", [json.loads(line) for line in decoded_lines(GREEDY).splitlines()], made["name"]
    )
    assert (alone["decoding_digest"], alone["decoding"]["temperature"]) == (GREEDY.digest, None)
    (board,) = await boards(api)
    assert board["decoding"]["max_new_tokens"] is None
    content = decoded_lines(GREEDY, right=30)
    assert (await upload(api, made["name"], content, sidecar_of(content, GREEDY), "known")).status_code == 201
    (board,) = await boards(api)
    assert names(board) == [("alone", 1), ("known", 2)]
    assert (board["decoding"]["temperature"], board["decoding"]["max_new_tokens"]) == (0, 256)
    later = await upload(api, made["name"], decoded_lines(GREEDY, right=3), name="later")
    assert later.json()["decoding"]["max_new_tokens"] == 256  # which the digest stands for
    again = await api.post(f"/api/evaluations/{alone['id']}/judge?judge=exact")
    assert again.json()["decoding_digest"] == GREEDY.digest


async def test_the_parameters_of_a_digest_are_known_from_another_eval_set(api: httpx.AsyncClient) -> None:
    first, second = await store(api), await store(api, questions(39))
    assert (await upload(api, second["name"], decoded_lines(WARM), name="early")).status_code == 201
    content = decoded_lines(WARM)
    assert (await upload(api, first["name"], content, sidecar_of(content, WARM), "known")).status_code == 201
    assert [board["decoding"]["temperature"] for board in await boards(api)] == [1.5, 1.5]


async def test_what_is_given_and_contradicts_the_file_is_a_conflict(api: httpx.AsyncClient) -> None:
    made = await store(api)
    content = decoded_lines(WARM)
    known = sidecar_of(content, WARM)
    for query, said in (
        ({"temperature": 0}, "0 was given, but the file has 1.5"),
        ({"temperature": 1.5, "max_new_tokens": 64}, "64 was given, but the file has 256"),
        ({"top_p": 0.9}, "0.9 was given, but the file has none"),
        ({"samples": 2}, "2 was given, but the file has 1"),
        ({"decoding_seed": 8}, "8 was given, but the file has 7"),
        ({"model_id": "large"}, "large was given; the file says small"),
    ):
        answer = await upload(api, made["name"], content, known, **query)
        assert (answer.status_code, [error["detail"] for error in answer.json()["errors"]]) == (409, [said]), query
    for query in ({"temperature": 0}, {"max_new_tokens": 256}, {"temperature": 1.5, "max_new_tokens": 64}):
        answer = await upload(api, made["name"], content, **query)  # the lines alone: no parameter can be looked up
        assert (answer.status_code, WARM.digest in answer.json()["detail"]) == (409, True), query
    assert (await boards(api)) == []
    equal: dict[str, Any] = {"temperature": 1.5, "max_new_tokens": 256}
    more = {"decoding_seed": 7, "samples": 1, "model_id": "runs/small/model"}
    for sidecar, query in ((None, equal), (known, equal | more)):
        answer = await upload(api, made["name"], content, sidecar, **query)
        assert (answer.status_code, answer.json()["decoding_digest"]) == (201, WARM.digest)
    answer = await upload(api, made["name"], content, temperature=0)
    assert answer.json()["errors"] == [{"pointer": "temperature", "detail": "0 was given, but the file has 1.5"}]


async def test_the_samples_that_are_stated_are_those_of_the_file(api: httpx.AsyncClient) -> None:
    made = await store(api)
    two = [row | {"sample": sample} for row in answers() for sample in (0, 1)]
    for content, samples in ((jsonl(two), 1), (jsonl(two), 4), (jsonl(answers()), 2)):
        answer = await upload(api, made["name"], content, temperature=0.8, samples=samples)
        assert (answer.status_code, f"{samples} samples an item" in answer.json()["detail"]) == (409, True)
    assert (await upload(api, made["name"], jsonl(two), temperature=0.8, samples=2)).status_code == 201


async def test_lines_of_several_decodings_are_refused_with_their_numbers(api: httpx.AsyncClient) -> None:
    made = await store(api)
    known, other = decoded_lines(GREEDY).splitlines(keepends=True), decoded_lines(WARM).splitlines(keepends=True)
    silent = jsonl(answers()).splitlines(keepends=True)
    for rest, said in ((other, WARM.digest), (silent, "no decoding")):
        answer = await upload(api, made["name"], b"".join([*known[:25], *rest[25:]]))
        assert (answer.status_code, "15 lines were decoded in another way" in answer.json()["detail"]) == (422, True)
        assert len(answer.json()["errors"]) == 10
        assert answer.json()["errors"][0] == {
            "pointer": "line 26", "detail": f"names {said}; line 1 names {GREEDY.digest}",
        }  # fmt: skip
    answer = await upload(api, made["name"], b"".join([*silent[:39], known[39]]))
    assert answer.json()["errors"] == [{"pointer": "line 40", "detail": f"names {GREEDY.digest}; line 1 names none"}]
    answer = await upload(api, made["name"], jsonl([answers()[0] | {"decoding": "greedy"}]))
    assert (answer.status_code, "decoding" in answer.json()["errors"][0]["detail"]) == (422, True)


async def test_a_sidecar_that_does_not_belong_to_the_file_is_a_conflict(api: httpx.AsyncClient) -> None:
    made = await store(api)
    content = decoded_lines(GREEDY)
    other = sidecar_of(content, GREEDY, decoding=WARM.parameters, decoding_digest=WARM.digest)
    for sidecar, said in (
        (other, "decoding is"),
        (sidecar_of(content, GREEDY, decoding_digest=WARM.digest), "decoding_digest is"),
        (sidecar_of(decoded_lines(GREEDY, 39), GREEDY), "predictions is"),
        (sidecar_of(content, GREEDY, eval_set=ITEMS), "eval_set is"),
    ):
        answer = await upload(api, made["name"], content, sidecar)
        assert answer.status_code == 409, answer.text
        assert answer.json()["detail"].startswith(f"p.jsonl.meta.json does not belong to p.jsonl: {said} sha256:")
        assert "remove p.jsonl.meta.json" in answer.json()["hint"]
        described = json.dumps(sidecar).encode()
        parts = {"a": ("a.jsonl", content), "b": ("p.jsonl", content), "b_meta": ("p.meta", described)}
        compared = await api.post(f"/api/evaluations/compare?eval_set={made['name']}", files=parts)
        assert (compared.status_code, f"p.jsonl: {said}" in compared.json()["detail"]) == (409, True)
    assert (await api.get("/api/evaluations")).json()["data"] == []


async def test_a_sidecar_that_is_none_is_refused_by_its_name(api: httpx.AsyncClient) -> None:
    made = await store(api)
    content = decoded_lines(GREEDY)
    for sidecar, said in (
        (b"{", "cut off"),
        (b"[]", "Input should be"),
        (b" " * (2**20 + 1), "over 1,048,576 bytes"),
        (sidecar_of(content, GREEDY, decodng={}), "Did you mean 'decoding'"),
        (sidecar_of(content, GREEDY, decoding={}), "no parameter"),
        (sidecar_of(content, GREEDY, decoding={"temperature": -1}), "decoding.temperature"),
        (sidecar_of(content, GREEDY, predictions="abc"), "predictions"),
        (sidecar_of(content, GREEDY, model={"name": "\x1b[2J"}), "model.name"),
    ):
        answer = await upload(api, made["name"], content, sidecar)
        assert answer.status_code == 422, sidecar
        assert answer.json()["detail"].startswith("p.jsonl.meta.json is not the meta file of predictions: ")
        assert said in answer.json()["detail"], sidecar


async def test_a_form_takes_one_file_and_the_sidecar_as_a_file_or_a_field(api: httpx.AsyncClient) -> None:
    made = await store(api)
    content = decoded_lines(GREEDY)
    query = {"name": "m", "eval_set": made["name"]}
    text = {"meta": json.dumps(sidecar_of(content, GREEDY))}
    answer = await api.post("/api/evaluations", params=query, data=text, files={"file": ("p.jsonl", content)})
    assert (answer.status_code, answer.json()["decoding"]["max_new_tokens"]) == (201, 256)
    both = {"one": ("p.jsonl", content), "two": ("q.jsonl", content)}
    for parts, said in ((both, "two files"), ({"meta": ("m", b"{}")}, "no file")):
        answer = await api.post("/api/evaluations", params=query, files=parts)
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True)


async def test_a_workers_judging_keeps_the_decoding(api: httpx.AsyncClient) -> None:
    made = await store(api)
    content = decoded_lines(WARM)
    refused = await upload(api, made["name"], content, sidecar_of(content, WARM), mode="async", temperature=0)
    assert refused.status_code == 409
    asked = await upload(api, made["name"], content, mode="async")
    assert asked.status_code == 202, asked.text
    state: Any = api._transport.app.state  # type: ignore[attr-defined]  # the application under the client
    await state.here.over(asked.json()["job"])
    (board,) = await boards(api)
    assert board["decoding_digest"] == WARM.digest


async def test_different_decodings_are_compared_only_if_that_is_asked_for(api: httpx.AsyncClient) -> None:
    made = await store(api)
    sides = {"a": decoded_lines(GREEDY), "b": decoded_lines(WARM, right=5), "silent": jsonl(answers())}

    async def compared(first: str, second: str, **query: Any) -> httpx.Response:
        parts = {"a": (f"{first}.jsonl", sides[first]), "b": (f"{second}.jsonl", sides[second])}
        parts["a_meta"] = ("meta", json.dumps(sidecar_of(sides[first], GREEDY)).encode())
        return await api.post("/api/evaluations/compare", params={"eval_set": made["name"], **query}, files=parts)

    refused = await compared("a", "b")
    assert (refused.status_code, "--across-decodings" in refused.json()["hint"]) == (409, True)
    assert "greedy, at most 256 new tokens, and decoding sha256:" in refused.json()["detail"]
    found = (await compared("a", "b", across_decodings=True)).json()
    assert (found["verdict"], found["other"]["decoding_digest"]) == ("worse", WARM.digest)
    assert "Compared across decodings: a.jsonl is greedy, at most 256 new tokens" in found["decoding_note"]
    unknown = (await compared("a", "silent")).json()
    assert "The decoding of silent.jsonl is unknown" in unknown["decoding_note"]
    assert (await compared("a", "a")).json()["decoding_note"] is None

    ids = [(await upload(api, made["name"], sides[name], name=name)).json()["id"] for name in sides]
    for other in ids[1:]:
        refused = await api.get(f"/api/evaluations/compare?base={ids[0]}&other={other}")
        assert (refused.status_code, "--across-decodings" in refused.json()["hint"]) == (409, True)
    found = (await api.get(f"/api/evaluations/compare?base={ids[0]}&other={ids[1]}&across_decodings=true")).json()
    assert (found["verdict"], "across decodings" in found["decoding_note"]) == ("worse", True)
    other = await store(api, questions(39))
    apart = (await upload(api, other["name"], sides["a"], name="apart")).json()["id"]
    refused = await api.get(f"/api/evaluations/compare?base={ids[0]}&other={apart}&across_decodings=true")
    assert (refused.status_code, "eval set" in refused.json()["detail"]) == (409, True)


async def test_a_gate_does_not_go_across_decodings(api: httpx.AsyncClient) -> None:
    made = await store(api)
    ids = [(await upload(api, made["name"], decoded_lines(each))).json()["id"] for each in (GREEDY, WARM)]
    ids.append((await evaluate(api, "silent", answers(), made["name"]))["id"])
    body = {"name": "main", "evaluation_id": ids[0]}
    assert (await api.post("/api/regression/baselines", json=body)).status_code == 201
    for checked, status in zip(ids, (200, 409, 409), strict=True):
        answer = await api.post("/api/regression/check", json={"baseline": "main", "evaluation_id": checked})
        assert answer.status_code == status, answer.text
        assert "--across-decodings" not in answer.text


# --- the command line -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with an eval set and predictions of two decodings, each with its sidecar, and of an unknown one."""
    folder = tmp_path_factory.mktemp("decodings")
    items = questions()
    digest = files.digest([EvalItemLine.model_validate(item) for item in items])
    (folder / "sums.jsonl").write_bytes(jsonl(items))
    (folder / "silent.jsonl").write_bytes(jsonl(answers()))
    for name, decoding in {"greedy": GREEDY, "warm": WARM}.items():
        write_described(folder / f"{name}.jsonl", decoded_lines(decoding), decoding, eval_set=digest)
    return Shell(folder)


def test_evaluate_reads_the_sidecar_and_refuses_flags_that_contradict_it(shell: Shell) -> None:
    words = ("evaluate", "--eval-set", "sums.jsonl", "--predictions")
    found = shell.json(*words, "warm.jsonl")
    assert (found["decoding"]["temperature"], found["decoding"]["seed"], found["model_id"]) == (1.5, 7, "small")
    assert shell.json(*words, "warm.jsonl", "--temperature", 1.5, "--samples", 1, "--seed", 7)["name"] == "warm"
    done = shell(*words, "warm.jsonl", "--temperature", 0, "--max-new-tokens", 256)
    assert (done.returncode, done.stdout) == (4, "")
    assert "temperature: 0 was given, but the file has 1.5" in done.stderr
    assert shell(*words, "warm.jsonl", "--model", "large").returncode == 4
    shell.json(*words, "greedy.jsonl")
    assert "decoding unknown" in shell(*words, "silent.jsonl").stdout
    labels = [line.rpartition("answer_correctness ")[2].partition(", ")[2]
              for line in shell("leaderboard").stdout.splitlines() if line.startswith("sums (")]  # fmt: skip
    assert labels == ["decoding unknown", "greedy, at most 256 new tokens", "temperature 1.5, at most 256 new tokens"]


def test_a_sidecar_of_another_file_is_refused_by_its_name(shell: Shell) -> None:
    write_described(shell.folder / "moved.jsonl", decoded_lines(GREEDY, 39), GREEDY, predictions="sha256:" + "0" * 64)
    for words in (
        ("evaluate", "--eval-set", "sums.jsonl", "--predictions", "moved.jsonl"),
        ("compare", "--eval-set", "sums.jsonl", "greedy.jsonl", "moved.jsonl"),
        ("judge", "compare", "--eval-set", "sums.jsonl", "greedy.jsonl", "moved.jsonl"),
    ):
        done = shell(*words)
        assert done.returncode == 4
        assert "moved.jsonl.meta.json does not belong to moved.jsonl: predictions is" in done.stderr
    (shell.folder / "sums2.jsonl").write_bytes(jsonl(questions(39)))
    done = shell("evaluate", "--eval-set", "sums2.jsonl", "--predictions", "greedy.jsonl")
    assert (done.returncode, "greedy.jsonl.meta.json does not belong" in done.stderr) == (4, True)
    (shell.folder / "bad.jsonl").write_bytes(decoded_lines(GREEDY))
    (shell.folder / "bad.jsonl.meta.json").write_text("{}")
    done = shell("evaluate", "--eval-set", "sums.jsonl", "--predictions", "bad.jsonl")
    assert (done.returncode, "bad.jsonl.meta.json is not the meta file" in done.stderr) == (1, True)


def test_compare_refuses_two_decodings_and_labels_them_if_they_are_asked_for(shell: Shell) -> None:
    for words in (("compare",), ("judge", "compare")):
        done = shell(*words, "--eval-set", "sums.jsonl", "greedy.jsonl", "warm.jsonl")
        assert (done.returncode, "--across-decodings" in done.stderr) == (4, True)
        assert "greedy.jsonl and warm.jsonl were decoded differently: greedy" in done.stderr
    across = ("compare", "--eval-set", "sums.jsonl", "greedy.jsonl", "warm.jsonl", "--across-decodings")
    said = shell(*across).stdout
    assert "Compared across decodings: greedy.jsonl is greedy, at most 256 new tokens, warm.jsonl is temp" in said
    assert shell.json(*across)["other"]["decoding"]["temperature"] == 1.5
    said = shell("compare", "--eval-set", "sums.jsonl", "greedy.jsonl", "silent.jsonl").stdout
    assert "The decoding of silent.jsonl is unknown, that of greedy.jsonl is greedy" in said
    ids = [
        shell.json("evaluate", "--eval-set", "sums.jsonl", "--predictions", f"{name}.jsonl")["id"]
        for name in ("greedy", "warm")
    ]
    assert shell("compare", *ids).returncode == 4
    assert "across decodings" in shell("compare", *ids, "--across-decodings").stdout
