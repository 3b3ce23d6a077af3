"""Times from callers at the edges of the calendar, over HTTP and in commands, on both databases."""

import base64
import json
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.make import answers, evaluate, questions, store
from tests.make import dataset, run, stored, trace
from tunix_rt.base.errors import WrongUsage
from tunix_rt.base.times import parse_utc
from tunix_rt.cli.main import root

IN_UTC = (
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00.000001Z",
    "0001-01-02T00:00:00+23:59",
    "9999-12-31T23:59:59.999999+00:00",
    "9999-12-31T00:00:00-23:59",
    "9999-12-31t23:59:59z",
)
NOT_IN_UTC = (
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59.999999-00:01",
)
NO_TIME = ("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+24:00", "1e9")
SORTED_BY_TIME = {
    "/api/traces": ("created_at",),
    "/api/datasets": ("created_at",),
    "/api/evaluations": ("created_at",),
    "/api/tunix/runs": ("created_at", "started_at", "completed_at"),
}


async def operations(api: httpx.AsyncClient) -> dict[str, list[dict[str, Any]]]:
    """The parameters of each GET route, its path filled in with something that exists."""
    await stored(api, trace(1), trace(2))
    await dataset(api)
    eval_set = await store(api, questions(2), name="sums")
    evaluation = await evaluate(api, "model", answers(2), eval_set["name"])
    run_id = await run(api)
    assert (await api.post("/api/models", json={"name": "family"})).status_code == 201
    existing = {"key": "data-v1", "evaluation_id": evaluation["id"], "name": "family", "id": run_id}
    paths = (await api.get("/openapi.json")).json()["paths"]
    return {
        re.sub(r"{(\w+)}", lambda found: existing.get(found[1], "1"), path): methods["get"].get("parameters", [])
        for path, methods in paths.items()
        if "get" in methods
    }


def cursor(time: str, sort: str | None = None) -> str:
    """A cursor as a caller can forge it."""
    row = str(uuid.UUID(int=2**127))
    text = f"{time}|{row}" if sort is None else json.dumps([sort, time, row])
    return base64.urlsafe_b64encode(text.encode()).decode()


async def test_every_list_takes_a_cursor_that_utc_can_represent_and_refuses_any_other(api: httpx.AsyncClient) -> None:
    lists = [
        path for path, parameters in (await operations(api)).items() if "cursor" in {p["name"] for p in parameters}
    ]
    by_time = [path for path in lists if not path.endswith(("/items", "/samples"))]  # these count, and know no time
    assert len(by_time) == 11
    for path in by_time:
        for sort in (None, *SORTED_BY_TIME.get(path, ())):
            order = {} if sort is None else {"sort": sort}
            for times, status in ((IN_UTC, 200), ((*NOT_IN_UTC, *NO_TIME, "2026-01-01T00:00:00"), 422)):
                for time in times:
                    answer = await api.get(path, params={"cursor": cursor(time, sort), **order})
                    assert answer.status_code == status, (path, sort, time, answer.text)
                    if status == 422:
                        assert answer.json()["errors"][0]["pointer"] == "cursor"


async def test_every_time_in_a_query_is_one_of_utc_or_refused(api: httpx.AsyncClient) -> None:
    checked = 0
    for path, parameters in (await operations(api)).items():
        for name in [p["name"] for p in parameters if "date-time" in json.dumps(p["schema"])]:
            checked += 1
            for times, status in ((IN_UTC, 200), ((*NOT_IN_UTC, *NO_TIME), 422)):
                for time in times:
                    answer = await api.get(path, params={name: time})
                    assert answer.status_code == status, (path, name, time, answer.text)
                    if status == 422:
                        assert answer.json()["errors"][0]["pointer"] == name
    assert checked == 10


@pytest.mark.parametrize("route", ["build", "preview"])
async def test_every_time_in_a_body_is_one_of_utc_or_refused(api: httpx.AsyncClient, route: str) -> None:
    await stored(api, trace(1))
    for number, time in enumerate([*IN_UTC[-3:], *NOT_IN_UTC, *NO_TIME, 1_700_000_000]):
        body = {"name": f"until-{number}", "filters": {"created_before": time}}
        answer = await api.post(f"/api/datasets/{route}", json=body)
        assert answer.status_code == (422 if number > 2 else 201 if route == "build" else 200), (time, answer.text)


async def test_the_first_and_the_last_moment_find_all_and_nothing(api: httpx.AsyncClient) -> None:
    [first] = await stored(api, trace(1))
    for name, expected in (("created_after", [first]), ("created_before", [])):
        found = await api.get("/api/traces", params={name: "0001-01-01T00:00:00Z"})
        assert [row["id"] for row in found.json()["data"]] == expected
    for time, expected in (("9999-12-31T23:59:59Z", [first]), ("0001-01-01T00:00:00Z", [])):
        found = await api.get("/api/traces", params={"cursor": cursor(time)})
        assert [row["id"] for row in found.json()["data"]] == expected


@pytest.mark.parametrize("command", [["runs", "list", "--created-before"], ["leaderboard", "--to"]])
def test_commands_refuse_the_same_times_before_they_ask(command: list[str]) -> None:
    for time in (*NOT_IN_UTC, *NO_TIME):
        with pytest.raises(WrongUsage, match=rf"^{command[-1]} '{re.escape(time)}' is "):
            CliRunner().invoke(root, [*command, time], standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("command", [["runs", "list", "--created-before"], ["leaderboard", "--to"]])
def test_commands_take_a_date_and_the_last_moment(command: list[str], tmp_path: Path) -> None:
    environment = {"TUNIX_RT_HOME": str(tmp_path)}
    for time in ("2026-01-31", IN_UTC[0], IN_UTC[3]):
        done = CliRunner().invoke(root, [*command, time], env=environment, catch_exceptions=False)
        assert done.exit_code == 0, done.output


@given(
    st.datetimes(timezones=st.timedeltas(timedelta(minutes=-1439), timedelta(minutes=1439)).map(timezone)),
    st.sampled_from(("T", "t", " ")),
)
def test_a_time_is_the_same_moment_in_utc_or_refused(time: datetime, separator: str) -> None:
    epoch = datetime(1, 1, 1, tzinfo=UTC)
    since = time - epoch  # exact, in whatever zone
    try:
        found = parse_utc(time.isoformat(separator))
    except ValueError:
        assert not timedelta(0) <= since <= datetime.max.replace(tzinfo=UTC) - epoch
    else:
        assert (found.tzinfo, found - epoch) == (UTC, since)
