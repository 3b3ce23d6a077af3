"""What is no trace is refused, and the answer says where: by every door, on both databases, and never with a 500."""

from typing import Any

import httpx

from tests.make import trace

STEP = {"i": 0, "type": "sum", "content": "1 + 1 = 2"}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"trace_version": "2.0"}, "/trace_version", "1.0"),
    ({"prompt": ""}, "/prompt", "at least 1 character"),
    ({"prompt": "x" * 50_001}, "/prompt", "at most 50000 characters"),
    ({"final_answer": 2}, "/final_answer", "valid string"),
    ({"steps": []}, "/steps", "at least 1 item"),
    ({"steps": [STEP | {"i": n} for n in range(1_001)]}, "/steps", "at most 1000 items"),
    ({"steps": [STEP, STEP | {"i": 1}, STEP]}, "/steps/2/i", "0 stands twice (first at steps/0)"),
    ({"steps": [STEP | {"i": -1}]}, "/steps/0/i", "greater than or equal to 0"),
    ({"steps": [STEP | {"i": True}]}, "/steps/0/i", "valid integer"),
    ({"steps": [STEP | {"i": 2**53}]}, "/steps/0/i", "less than or equal to 9007199254740991"),
    ({"steps": [STEP | {"type": "x" * 65}]}, "/steps/0/type", "at most 64"),
    ({"steps": [STEP | {"content": "x" * 20_001}]}, "/steps/0/content", "at most 20000"),
    ({"steps": [STEP | {"contnt": "x"}]}, "/steps/0/contnt", "Did you mean 'content'?"),
    ({"steps": [STEP | {"meta": {"n": [2**53]}}]}, "/steps/0/meta", "past 2^53"),
    ({"steps": [STEP | {"meta": {"n": 1e17}}]}, "/steps/0/meta", "past 2^53"),
    ({"promt": "x"}, "/promt", "Did you mean 'prompt'?"),
    ({"meta": []}, "/meta", "valid dictionary"),
    ({"meta": {"x": "y" * 65_536}}, "/meta", "at most 65536"),
    ({"meta": {"source": "y" * 201}}, "/meta/source", "at most 200"),
]


async def test_a_wrong_field_is_named(api: httpx.AsyncClient) -> None:
    for changes, pointer, says in WRONG:
        wrong = trace(1) | changes
        alone = await api.post("/api/traces", json=wrong)
        assert alone.status_code == 422, pointer
        assert alone.headers["content-type"] == "application/problem+json"
        assert alone.json()["errors"][0]["pointer"] == pointer
        assert says in alone.json()["errors"][0]["detail"]
        among = await api.post("/api/traces/batch", json=[trace(2), wrong])
        assert among.json()["errors"][0]["pointer"] == f"/1{pointer}"
        line = await api.post("/api/traces/import?format=trace", content=jsonl(trace(2), wrong))
        assert line.json()["errors"][0]["pointer"] == "line 2"
        assert f"{pointer[1:]}: " in line.json()["errors"][0]["detail"]
        assert says in line.json()["errors"][0]["detail"]
    assert (await api.get("/api/traces")).json()["data"] == []


def jsonl(*records: Any) -> bytes:
    return b"\n".join(httpx.Request("POST", "http://x", json=record).read() for record in records)


NOT_JSON = [
    (b'{"a": NaN}', "NaN is not JSON"),
    (b'{"a": -Infinity}', "-Infinity is not JSON"),
    (b'{"a": 1e999}', "too large"),
    (b'{"a": "\\ud800"}', "lone surrogate"),
    (b'{"a": "\\u0000"}', "NUL"),
    (b'{"a": 9223372036854775808}', "64 bits"),
    (b'{"a": 1, "a": 2}', "stands twice"),
    (b'{"a": "\xff"}', "not UTF-8: byte 0xff"),
    (b'{"a": [1, 2', "cut off?"),
    (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
    (b"[" * 100_000, "nested too deeply"),
]


async def test_what_is_not_json_is_refused(api: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    for body, says in NOT_JSON:
        for path in ("/api/traces", "/api/traces/batch", "/api/traces/generate"):
            answer = await api.post(path, content=body, headers=headers)
            assert answer.status_code == 422, says
            assert says in answer.json()["detail"]
        answer = await api.post("/api/traces/import", content=body)
        assert says in answer.json()["errors"][0]["detail"]


async def test_a_body_that_does_not_call_itself_json_is_told_to(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/traces", data={"prompt": "x"})
    assert answer.status_code == 422
    assert "application/json" in answer.json()["hint"]


async def test_a_body_over_the_limit_is_refused(api: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    for content in (b" " * (2**20 + 1), chunks()):
        answer = await api.post("/api/traces", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413


async def test_a_batch_has_1_to_1000_traces(api: httpx.AsyncClient) -> None:
    for many in ([], [trace(n) for n in range(1_001)]):
        assert (await api.post("/api/traces/batch", json=many)).status_code == 422
    answer = await api.post("/api/traces/batch", json=[trace(n) for n in range(1_000)])
    assert answer.json()["created_count"] == 1_000


async def test_the_longest_trace_and_meta_are_stored_and_come_back(api: httpx.AsyncClient) -> None:
    prompt = "".join(f"\U0001f600{n % 97} " for n in range(20_000))[:50_000]
    meta = {"é": "ü" * 30_000, "b": {"c": [1, 1.5, None, True, 1e300, -(2**63)]}}
    found = trace(0, prompt=prompt, final_answer="http://a.b/c " * 3_846, meta=meta)
    answer = await api.post("/api/traces", json=found)
    assert answer.status_code == 201, answer.text
    back = (await api.get(f"/api/traces/{answer.json()['id']}")).json()
    assert {key: back[key] for key in ("prompt", "final_answer", "meta")} == {
        "prompt": prompt,
        "final_answer": found["final_answer"],
        "meta": meta,
    }


async def test_no_meta_is_empty_meta(api: httpx.AsyncClient) -> None:
    metas: list[Any] = [None, {}, "none at all"]
    for number, meta in enumerate(metas):
        found = trace(number, meta=meta)
        if isinstance(meta, str):
            del found["meta"]
        stored = await api.post("/api/traces", json=found)
        assert (await api.get(f"/api/traces/{stored.json()['id']}")).json()["meta"] == {}
    assert (await api.get("/api/traces?meta.x=1")).json()["data"] == []
