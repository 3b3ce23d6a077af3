"""The registry over HTTP, on both databases: families, versions, aliases, downloads."""

import asyncio
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from tests import make
from tests.evaluation.make import answers, evaluate, store
from tests.make import Hand
from tests.registry.make import completed, hand_of, model, promoted, stored, tensors
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.models import Evaluation
from tunix_rt.jobs.retry import End


@pytest.fixture
async def hand(api: httpx.AsyncClient, settings: Settings) -> Hand:
    await make.stored(api, make.trace(1), make.trace(2))
    await make.dataset(api)
    return hand_of(api, settings)


async def family(api: httpx.AsyncClient, name: str = "sums") -> dict[str, Any]:
    answer = await api.get(f"/api/models/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- families ---------------------------------------------------------------------------------------------------


async def test_a_family_is_made_once_and_keeps_its_description(api: httpx.AsyncClient) -> None:
    async def made(**body: Any) -> httpx.Response:
        return await api.post("/api/models", json=body)

    first = await made(name="sums", description="Adds.")
    assert (first.status_code, first.json()["description"], first.json()["versions"]) == (201, "Adds.", [])
    for body in ({"name": "sums"}, {"name": "sums", "description": "Adds."}):
        again = await made(**body)
        assert (again.status_code, again.json()) == (200, first.json())
    other = await made(name="sums", description="Subtracts.")
    assert (other.status_code, "Adds." in other.json()["detail"]) == (409, True)
    missing = await api.get("/api/models/smus")
    assert (missing.status_code, "Did you mean 'sums'?" in missing.json()["detail"]) == (404, True)


async def test_the_list_of_families_is_paged_newest_first(api: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await api.post("/api/models", json={"name": name})
    names, cursor = [], ""
    while True:
        page = (await api.get(f"/api/models?limit=2{cursor}")).json()
        names += [row["name"] for row in page["data"]]
        if page["pagination"]["next_cursor"] is None:
            break
        cursor = f"&cursor={page['pagination']['next_cursor']}"
    assert names == ["c", "b", "a"]
    assert page["data"][0] | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "a",
        "description": "",
        "created_at": "",
        "version_count": 0,
        "versions": [],
        "aliases": [],
    }


async def test_a_name_that_could_be_a_path_or_a_reference_is_refused(api: httpx.AsyncClient) -> None:
    await api.post("/api/models", json={"name": "sums"})
    for name in ("", "..", "../x", "a/b", "A", "a b", "a\n", "a\u0000", "-a", "x" * 100, "ä", "a@b", "a:b"):
        assert (await api.post("/api/models", json={"name": name})).status_code == 422, name
        for body in ({"version": name}, {"alias": name}):
            answer = await api.post("/api/models/sums/promote", json={"run_id": "00000000", **body})
            assert answer.status_code == 422, (name, answer.text)


# --- promotion --------------------------------------------------------------------------------------------------


async def test_a_version_says_where_it_comes_from_and_what_it_is_worth(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await completed(api, hand)
    eval_set = (await store(api, name="sums-eval"))["name"]
    for name, right in (("old", 1), ("new", 30)):  # of one board: the newer one counts
        made = await evaluate(api, name, answers(right=lambda i, k=right: i < k), eval_set)  # type: ignore[misc]  # k is bound to each turn's
        async with hand.database.write() as session:
            this = Evaluation.id == UUID(made["id"])
            await session.execute(update(Evaluation).where(this).values(run_id=UUID(run)))
    found = await promoted(api, run, version="first", alias="best", actor="ann")
    asked = (await api.get(f"/api/tunix/runs/{run}")).json()
    assert (found["name"], found["version"], found["actor"], found["kind"]) == ("sums", "first", "ann", "model")
    assert (found["aliases"], found["run_id"]) == (["best"], run)
    about = found["provenance"]
    assert (about["dataset_key"], about["dataset_digest"]) == ("data-v1", asked["dataset_digest"])
    assert (about["engine"], about["method"], about["model_id"]) == (asked["engine"], "full", "scratch")
    sorted_config = json.dumps(asked["config"], sort_keys=True).encode()
    assert about["config_digest"] == "sha256:" + hashlib.sha256(sorted_config).hexdigest()
    [figure] = found["evaluations"]
    assert (figure["evaluation_id"], figure["eval_set"], figure["judge"]) == (made["id"], "sums-eval", made["judge"])
    assert (figure["score"], figure["ci"], figure["n_scored"]) == (0.75, made["ci"], 40)
    manifest = (await api.get("/api/models/sums/first/manifest")).json()
    folder = make.folder(hand.settings, run) / "model"
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [file["path"] for file in manifest["files"]] == sorted(there)
    for file in manifest["files"]:
        content = there[file["path"]]
        assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert stored(hand.settings, file["sha256"]).read_bytes() == content
    assert (manifest["size"], manifest["card"]) == (sum(map(len, there.values())), "# A model\n")
    canonical = json.dumps(manifest["files"], sort_keys=True, separators=(",", ":")).encode()
    assert found["digest"] == "sha256:" + hashlib.sha256(canonical).hexdigest()


async def test_versions_are_numbered_and_the_same_content_is_the_same_version(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    first, second, twin = [await completed(api, hand, seed) for seed in (1, 2, 1)]
    await api.post("/api/models", json={"name": "sums"})
    one = await api.post("/api/models/sums/promote", json={"run_id": first})
    assert (one.status_code, one.json()["version"]) == (201, "1")
    for run in (first, twin, first[:13]):
        again = await api.post("/api/models/sums/promote", json={"run_id": run})
        assert (again.status_code, again.json()) == (200, one.json())
    assert (await promoted(api, second))["version"] == "2"
    other = await api.post("/api/models/sums/promote", json={"run_id": first, "version": "9"})
    assert (other.status_code, "version 1" in other.json()["detail"]) == (409, True)
    third = await completed(api, hand, 3)
    taken = await api.post("/api/models/sums/promote", json={"run_id": third, "version": "2"})
    assert (taken.status_code, "never changes" in taken.json()["detail"]) == (409, True)
    assert (await promoted(api, third, version="7"))["version"] == "7"
    assert (await promoted(api, await completed(api, hand, 4), version="beta"))["version"] == "beta"
    assert (await promoted(api, await completed(api, hand, 5)))["version"] == "8"
    assert (await promoted(api, first, "others"))["version"] == "1"
    found = await family(api)
    assert [row["version"] for row in found["versions"]] == ["8", "beta", "7", "2", "1"]
    assert found["version_count"] == 5
    await promoted(api, await completed(api, hand, 6))
    listed = {row["name"]: row for row in (await api.get("/api/models")).json()["data"]}
    assert [row["version"] for row in listed["sums"]["versions"]] == ["9", "8", "beta", "7", "2"]
    assert [row["version"] for row in listed["others"]["versions"]] == ["1"]
    page = (await api.get("/api/models/sums/versions?limit=2")).json()
    rest = (await api.get(f"/api/models/sums/versions?cursor={page['pagination']['next_cursor']}")).json()
    assert [row["version"] for row in page["data"] + rest["data"]] == ["9", "8", "beta", "7", "2", "1"]


async def test_only_a_completed_training_is_promoted(api: httpx.AsyncClient, hand: Hand) -> None:
    await api.post("/api/models", json={"name": "sums"})

    async def refused(run: str) -> str:
        answer = await api.post("/api/models/sums/promote", json={"run_id": run})
        assert (answer.status_code, bool(answer.json()["hint"])) == (409, True)
        detail: str = answer.json()["detail"]
        return detail

    waiting = await make.run(api)
    assert "is pending" in await refused(waiting)
    job = await hand.takes()
    assert "is running" in await refused(waiting)
    await hand.ends(job, make.ended(End.REFUSED))
    assert "is failed" in await refused(waiting)
    dry = (await api.post("/api/tunix/run?mode=async", json={"dataset_key": "data-v1"})).json()["run_id"]
    await hand.ends(await hand.takes(), make.ended(End.DONE))
    assert "dry run" in await refused(dry)
    nobody = await api.post("/api/models/sums/promote", json={"run_id": "00000000"})
    assert nobody.status_code == 404
    assert (await api.post("/api/models/none/promote", json={"run_id": waiting})).status_code == 404
    assert (await family(api))["versions"] == []


def _cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1])


def _link(folder: Path) -> None:
    (folder / "secret.json").symlink_to("/etc/hostname")


def _index(folder: Path) -> None:
    weights = {"weight_map": {"w": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(weights))


TORN: dict[str, Callable[[Path], object]] = {
    "missing or empty": shutil.rmtree,
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "no tokenizer.json": lambda folder: (folder / "tokenizer.json").unlink(),
    "no *.safetensors": lambda folder: (folder / "model.safetensors").unlink(),
    "its header says": _cut,
    "not a safetensors file": lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 100),
    "not JSON": lambda folder: (folder / "config.json").write_text("{"),
    "model-00002-of-00002.safetensors": _index,
    "a link": _link,
}


async def test_a_model_that_is_missing_or_torn_is_refused_and_nothing_is_stored(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    run = await completed(api, hand)
    folder = make.folder(hand.settings, run) / "model"
    await api.post("/api/models", json={"name": "sums"})
    for said, tear in TORN.items():
        shutil.rmtree(folder, ignore_errors=True)
        tear(model(folder))
        answer = await api.post("/api/models/sums/promote", json={"run_id": run})
        assert (answer.status_code, said in answer.json()["detail"]) == (409, True), (said, answer.text)
        assert "runs retry" in answer.json()["hint"]
    assert (await family(api))["versions"] == []
    assert not (hand.settings.home / "registry").exists()


async def test_promotions_at_once_of_one_content_are_one_version_and_of_others_are_others(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    runs = [await completed(api, hand, seed) for seed in (1, 1, 1, 2, 3)]
    await api.post("/api/models", json={"name": "sums"})
    answered = await asyncio.gather(
        *(api.post("/api/models/sums/promote", json={"run_id": run, "alias": "best"}) for run in runs)
    )
    assert {answer.status_code for answer in answered} <= {200, 201}
    assert sum(answer.status_code == 201 for answer in answered) == 3
    assert len({answer.json()["version"] for answer in answered[:3]}) == 1
    found = await family(api)
    assert sorted(row["version"] for row in found["versions"]) == ["1", "2", "3"]
    moves = [(move["from"], move["to"]) for move in found["history"]]
    for (_, older), (newer, _) in zip(moves[1:], moves, strict=False):
        assert older == newer


# --- aliases ----------------------------------------------------------------------------------------------------


async def test_an_alias_moves_and_its_history_stays(api: httpx.AsyncClient, hand: Hand) -> None:
    for seed in (1, 2):
        await promoted(api, await completed(api, hand, seed))

    async def points(version: str, **about: Any) -> httpx.Response:
        return await api.put("/api/models/sums/aliases/production", json={"version": version, **about})

    first = await points("1", actor="ann")
    assert (first.status_code, first.json()["version"], first.json()["actor"]) == (200, "1", "ann")
    assert (await points("1", actor="bob")).json() == first.json()  # it is there already: nothing moved
    moved = await points("2", actor="bob", reason="better on sums")
    assert (moved.json()["version"], moved.json()["reason"]) == ("2", "better on sums")
    assert (await points("1")).json()["actor"] == "api"
    found = await family(api)
    assert [(one["alias"], one["version"]) for one in found["aliases"]] == [("production", "1")]
    assert [row["aliases"] for row in found["versions"]] == [[], ["production"]]
    history = [(move["from"], move["to"], move["actor"], move["reason"]) for move in found["history"]]
    assert history == [("2", "1", "api", None), ("1", "2", "bob", "better on sums"), (None, "1", "ann", None)]
    page = (await api.get("/api/models/sums/history?limit=1")).json()
    assert (len(page["data"]), bool(page["pagination"]["next_cursor"])) == (1, True)
    missing = await points("3")
    assert (missing.status_code, "no version '3'" in missing.json()["detail"]) == (404, True)
    for alias in ("A", "a@b", "%2e%2e", "a%0a"):
        answer = await api.put(f"/api/models/sums/aliases/{alias}", json={"version": "1"})
        assert answer.status_code in (404, 422), alias
    assert len((await family(api))["aliases"]) == 1


# --- downloads --------------------------------------------------------------------------------------------------


async def test_a_download_is_a_zip_of_the_same_bytes_each_time(api: httpx.AsyncClient, hand: Hand) -> None:
    run = await completed(api, hand)
    folder = make.folder(hand.settings, run) / "model"
    (folder / "inner").mkdir()
    tensors(folder / "inner" / "extra.safetensors", range(1_000_000))  # more than one piece
    (folder / "empty.txt").write_bytes(b"")
    version = await promoted(api, run)
    first = await api.get("/api/models/sums/1/download")
    assert (first.status_code, first.headers["content-type"]) == (200, "application/zip")
    assert (first.headers["etag"], "content-length" in first.headers) == (f'"{version["digest"]}"', False)
    assert first.headers["content-disposition"] == 'attachment; filename="sums-1.zip"'
    assert (await api.get("/api/models/sums/1/download")).content == first.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        assert archive.namelist() == [f"sums-1/{name}" for name in sorted(there)]
        assert all(archive.read(f"sums-1/{name}") == path.read_bytes() for name, path in there.items())
    known = await api.get("/api/models/sums/1/download", headers={"if-none-match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_a_file_is_given_whole_or_in_part_and_no_other_path_leads_anywhere(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await promoted(api, await completed(api, hand))
    at = "/api/models/sums/1/files"
    whole = await api.get(f"{at}/model.safetensors")
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    part = await api.get(f"{at}/model.safetensors", headers={"range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, whole.content[8:12])
    for path in ("none", "../1/config.json", "%2e%2e/config.json", "%2fetc%2fhostname", "inner%00"):
        assert (await api.get(f"{at}/{path}")).status_code in (404, 422), path
    for path in ("%2e%2e/1/download", "sums/%2e%2e/download", "sums/2/download", "sums/2/manifest", "x/1/manifest"):
        assert (await api.get(f"/api/models/{path}")).status_code == 404, path


async def test_a_damaged_file_is_found_named_never_given_out_whole_and_healed_by_promoting_again(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    run = await completed(api, hand)
    version = await promoted(api, run)
    whole = (await api.post("/api/models/sums/1/verify")).json()
    assert (whole["ok"], whole["n_files"], whole["size"]) == (True, version["n_files"], version["size"])
    [file] = [
        file
        for file in (await api.get("/api/models/sums/1/manifest")).json()["files"]
        if file["path"] == "model.safetensors"
    ]
    place = stored(hand.settings, file["sha256"])
    good = place.read_bytes()
    for bad, said in ((good[:-1] + b"\0", "SHA-256"), (good[:-1], "bytes instead of"), (None, "missing")):
        place.unlink()
        if bad is not None:
            place.write_bytes(bad)
        found = (await api.post("/api/models/sums/1/verify")).json()
        [damage] = found["damaged"]
        assert (found["ok"], damage["path"], said in damage["problem"]) == (False, "model.safetensors", True)
        answer = await api.get("/api/models/sums/1/download")
        if answer.status_code == 200:  # it was broken off: in this client, whose connection never breaks, too short
            with pytest.raises(zipfile.BadZipFile):
                zipfile.ZipFile(io.BytesIO(answer.content))
        else:
            assert "models verify" in answer.json()["hint"]
    assert (await promoted(api, run))["version"] == "1"
    assert (await api.post("/api/models/sums/1/verify")).json()["ok"]
