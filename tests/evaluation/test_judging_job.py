"""Judgings that a worker does: asked for over HTTP, looked at while they go on, taken over from a worker that died."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import make
from tests.evaluation.llm_server import Server, says, serving, verdict
from tests.evaluation.make import answers, evaluate, jsonl, store
from tests.registry.make import hand_of
from tunix_rt import worker
from tunix_rt.base.settings import Settings
from tunix_rt.cli import judging
from tunix_rt.evaluation import judging_job
from tunix_rt.jobs import loop
from tunix_rt.jobs.lease import Lease


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def asked_at(api: httpx.AsyncClient, settings: Settings, server: Server) -> Settings:
    """The settings of application and worker, with the server as the judge's endpoint."""
    app: Any = api._transport.app  # type: ignore[attr-defined]  # the application under the client
    app.state.settings = settings.model_copy(update={"judge_url": server.url, "judge_model": "m"})
    found: Settings = app.state.settings
    return found


async def taken(api: httpx.AsyncClient, settings: Settings, stop: asyncio.Event | None = None) -> Any:
    """What does the next judging, as a worker would."""
    hand = hand_of(api, settings)
    known = worker.handlers(hand.database, settings)
    claimed = await loop.claim(hand.database, known, "hand", [], 30.0)
    assert claimed is not None
    assert claimed.kind == "judge"
    return loop.perform(Lease(hand.database, claimed, 30.0, stop or asyncio.Event()), known["judge"])


async def look(api: httpx.AsyncClient, place: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(place)).json()
    return found


async def test_predictions_are_judged_by_a_worker_and_the_answer_says_where_to_look(
    api: httpx.AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await store(api)
    params = {"name": "m", "eval_set": made["name"], "mode": "async", "model_id": "small", "temperature": 0}
    body = jsonl(answers(right=lambda i: i < 30))
    accepted = await api.post("/api/evaluations", params=params, content=body)
    place = accepted.headers["location"]
    assert (accepted.status_code, accepted.json()) == (202, await look(api, place))
    assert {key: accepted.json()[key] for key in ("state", "n", "n_judged", "evaluation_id")} == {
        "state": "pending", "n": 40, "n_judged": 0, "evaluation_id": None,
    }  # fmt: skip
    await (await taken(api, settings))
    done = await look(api, place)
    assert (done["state"], done["n_judged"], done["reason"]) == ("done", 40, None)
    found = await look(api, f"/api/evaluations/{done['evaluation_id']}")
    assert (found["score"], found["name"], found["model_id"], found["decoding"]["temperature"]) == (
        0.75,
        "m",
        "small",
        0,
    )
    again = await api.post(f"/api/evaluations/{found['id']}/judge?judge=numeric&mode=async")
    monkeypatch.setattr(judging, "LOOK_SECONDS", 0.01)
    rejudged, _ = await asyncio.gather(judging.awaited(api, again.json()), await taken(api, settings))
    assert (rejudged["judge"], rejudged["score"], rejudged["id"] != found["id"]) == ("numeric", 0.75, True)
    assert judging.mode("http://server", "llm:repeat=1") == {"mode": "async"}
    assert judging.mode("http://server", "numeric") == judging.mode(None, "llm") == {}


async def test_what_cannot_be_judged_is_refused_at_once(api: httpx.AsyncClient) -> None:
    made = await store(api)
    params = {"name": "m", "eval_set": made["name"], "mode": "async"}
    foreign = await api.post("/api/evaluations", params=params, content=jsonl([{"id": "x", "output": "1"}]))
    assert (foreign.status_code, "another eval set" in foreign.json()["hint"]) == (422, True)
    unknown = await api.post("/api/evaluations", params={**params, "judge": "exakt"}, content=jsonl(answers()))
    assert (unknown.status_code, "exact" in unknown.json()["detail"]) == (422, True)
    assert (await api.post("/api/evaluations", params={**params, "mode": "later"}, content=b"")).status_code == 422
    assert (await api.get("/api/judgings/1")).status_code == 404


@pytest.mark.parametrize("how", ["killed", "drained"])
async def test_a_judging_is_looked_at_and_goes_on_from_the_replies_that_are_kept(
    api: httpx.AsyncClient, settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(judging_job, "NOTED_SECONDS", 0.01)
    free = threading.Event()

    def reply(body: dict[str, Any]) -> Any:
        if len(server.asked) > 5:
            free.wait(240)
        return says(verdict(body, 10))

    server.reply = reply
    settings = asked_at(api, settings, server)
    made = await store(api)
    first = await evaluate(api, "m", answers(8), made["name"])
    accepted = await api.post(f"/api/evaluations/{first['id']}/judge?judge=llm:concurrency=1&mode=async")
    stop = asyncio.Event()
    working = asyncio.create_task(await taken(api, settings, stop))
    while (await look(api, accepted.headers["location"]))["n_judged"] < 5:
        await asyncio.sleep(0.01)
    if how == "drained":
        stop.set()
        await working
    else:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await make.clock_jumps(hand_of(api, settings).database, 31.0)
        hand = hand_of(api, settings)
        assert await loop.reap(hand.database, worker.handlers(hand.database, settings), 30.0) == 1
        await make.clock_jumps(hand.database, 10.0)
    assert (await look(api, accepted.headers["location"]))["state"] == "pending"
    free.set()
    await (await taken(api, settings))
    done = await look(api, accepted.headers["location"])
    found = await look(api, f"/api/evaluations/{done['evaluation_id']}")
    assert (done["state"], found["score"], found["n_missing"]) == ("done", 0.2, 32)
    assert len(server.asked) <= 9  # eight, and the one that was on its way


async def test_an_endpoint_that_refuses_is_said_and_nothing_is_stored(
    api: httpx.AsyncClient, settings: Settings, server: Server
) -> None:
    server.in_turn((401, {}, b"{}"))
    settings = asked_at(api, settings, server)
    made = await store(api)
    params = {"name": "m", "eval_set": made["name"], "mode": "async", "judge": "llm"}
    accepted = await api.post("/api/evaluations", params=params, content=jsonl(answers()))
    await (await taken(api, settings))
    found = await look(api, accepted.headers["location"])
    assert (found["state"], "refuses" in found["reason"], found["evaluation_id"]) == ("pending", True, None)
    assert (await look(api, "/api/evaluations"))["data"] == []
