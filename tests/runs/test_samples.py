"""What a training answered, over the API: newest first, paged, each step once however often it was done."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import make
from tunix_rt.base.settings import Settings
from tunix_rt.runs import samples


@pytest.fixture
async def run(api: httpx.AsyncClient) -> str:
    await make.stored(api, make.trace(1), make.trace(2))
    await make.dataset(api)
    return await make.run(api)


def line(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, "time": "2026-01-31T12:00:00.000Z", **fields}) + "\n"


def said(step: int, prompt: str, output: str) -> str:
    return line("sample", step=step, prompt=prompt, output=output, finish_reason="stop")


def written(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(lines)


async def test_the_newest_come_first_and_a_step_that_was_done_again_counts_once(
    api: httpx.AsyncClient, settings: Settings, run: str
) -> None:
    path = f"/api/tunix/runs/{run}/samples"
    assert (await api.get(path)).json()["data"] == []
    folder = make.folder(settings, run)
    written(folder, line("step", step=1, loss=1.0), said(10, "a", "1"), said(10, "b", "2"), said(20, "a", "lost"))
    written(folder, line("end", reason="stopped"), said(20, "a", "3"), said(20, "b", "4"), 'torn "sample" [\n')
    written(folder, line("sample", step=30, prompt="a"), line("sample", step=30, prompt="a", output="5"))

    found = (await api.get(path)).json()["data"]
    assert [(one["step"], one["prompt"], one["output"]) for one in found] == [
        *((30, "a", "5"), (20, "a", "3"), (20, "b", "4"), (10, "a", "1"), (10, "b", "2")),
    ]
    assert found[0]["finish_reason"] is None
    assert found[1] | {"finish_reason": "stop", "created_at": "2026-01-31T12:00:00.000000Z"} == found[1]

    pages, cursor = [], None
    while True:
        page = (await api.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        pages.append([one["output"] for one in page["data"]])
        written(folder, said(40 + len(pages), "a", "new"))  # what comes meanwhile moves nothing
        if (cursor := page["pagination"]["next_cursor"]) is None:
            break
    assert pages == [["5", "3"], ["4", "1"], ["2"]]


async def test_a_wrong_place_or_run_is_refused(api: httpx.AsyncClient, run: str) -> None:
    path = f"/api/tunix/runs/{run}/samples"
    assert (await api.get(path, params={"cursor": "nonsense"})).status_code == 422
    assert (await api.get(path, params={"limit": 201})).status_code == 422
    assert (await api.get("/api/tunix/runs/019ab3f2-0000-7000-8000-000000000000/samples")).status_code == 404


def test_ten_thousand_samples_among_the_steps_are_read_in_no_time(tmp_path: Path) -> None:
    step = line("step", step=1, loss=0.5, learning_rate=0.1, grad_norm=1.0, tokens=4096, tokens_per_second=1e5)
    with (tmp_path / "events.jsonl").open("w") as file:
        for number in range(5_000):
            file.write(step * 10 + said(number, "a", "x" * 200) + said(number, "b", "y" * 200))
    started = time.perf_counter()
    page = samples.page(tmp_path, 200, None)
    assert time.perf_counter() - started < 5
    assert (len(page.data), page.data[0].step, page.pagination.next_cursor is None) == (200, 4999, False)
