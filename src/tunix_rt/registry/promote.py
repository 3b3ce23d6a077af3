"""A completed run's model becomes a version: its files first, by digest; then one transaction, or nothing."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.db import Database, present
from tunix_rt.base.errors import Conflict
from tunix_rt.evaluation import leaderboard
from tunix_rt.evaluation import service as evaluations
from tunix_rt.evaluation.models import Evaluation
from tunix_rt.jobs import here
from tunix_rt.registry import aliases, content, service
from tunix_rt.registry.models import ModelFamily, ModelVersion
from tunix_rt.registry.schemas import Figure, ModelFile, PromoteRequest, Provenance, VersionView
from tunix_rt.runs import service as runs
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.runs.states import FINAL, RunStatus
from tunix_rt.training.folder import RunFolder

_NEWEST = 200
"""Evaluations of a run that are looked at: the newest of each board is kept."""


async def promote(database: Database, home: Path, name: str, asked: PromoteRequest) -> tuple[VersionView, bool]:
    """Make a version of a run's model, or find the one that has this content; holds no session while files are copied.

    Returns:
        The version, and whether it is new.

    Raises:
        NotFound: there is no such family or run.
        Conflict: the run has no model to promote, and why; the version has other content; the content has another
            version.
        DiskFull: no space; nothing was promoted.
    """
    async with database.read() as session:
        await service.family(session, name)
        run = await runs.find(session, asked.run_id)
    _promotable(run)
    model = RunFolder(folder_of(home, run.id)).model
    files = await asyncio.to_thread(content.take, home, model)
    async with database.write("promote") as session:
        family = await service.family(session, name, lock=True)
        found, new = await _enter(session, family, run, files, asked)
        if asked.alias is not None:
            await aliases.point(session, found, asked.alias, asked.actor, asked.reason)
        return await service.shown(session, name, found), new


def _promotable(run: Run) -> None:
    if run.mode == "dry-run":
        raise Conflict(
            "The run is a dry run: it trained nothing.",
            hint="Submit it without --dry-run, and promote that run when it is completed.",
        )
    if run.status != RunStatus.COMPLETED:
        over = run.status in FINAL
        raise Conflict(
            f"The run is {run.status}; only a completed one has a model to promote.",
            hint=f"Do it again: tunix-rt runs retry {run.id}"
            if over
            else f"Wait for it: tunix-rt runs logs {run.id} -f",
        )


async def _enter(
    session: AsyncSession, family: ModelFamily, run: Run, files: list[ModelFile], asked: PromoteRequest
) -> tuple[ModelVersion, bool]:
    """The version's row; the family is locked, so that two with the same content are one."""
    digest = content.digest(files)
    query = select(ModelVersion).where(ModelVersion.family_number == family.number)
    known = await session.scalar(query.where(ModelVersion.digest == digest))
    if known is not None:
        if asked.version not in (None, known.version):
            raise Conflict(
                f"This model is version {known.version} of {family.name} already, and keeps that name.",
                hint=f"Leave --version out; an alias gives it a second name: --alias {asked.version}",
            )
        return known, False
    labels = set(await session.scalars(select(ModelVersion.version).where(ModelVersion.family_number == family.number)))
    if asked.version in labels:
        raise Conflict(
            f"{family.name} has a version {asked.version} with other content; a version never changes.",
            hint="Give another version, or leave it out and the next number is taken.",
        )
    numbers = [int(label) for label in labels if label.isascii() and label.isdecimal()]
    version = ModelVersion(
        family_number=family.number,
        version=asked.version or str(max(numbers, default=0) + 1),
        digest=digest,
        created_at=await present(session),
        run_id=run.id,
        actor=asked.actor or here.NAME,
        kind=content.kind(files),
        size=sum(file.size for file in files),
        files=[file.model_dump() for file in files],
        provenance=_provenance(run).model_dump(mode="json"),
        evaluations=[figure.model_dump(mode="json") for figure in await _figures(session, run)],
    )
    session.add(version)
    await session.flush()
    return version, True


def _provenance(run: Run) -> Provenance:
    known: dict[str, Any] = run.provenance
    return Provenance(
        run_id=run.id,
        dataset_key=run.dataset_key,
        dataset_digest=run.dataset_digest,
        engine=run.engine,
        method=run.config["method"],
        config_digest="sha256:" + hashlib.sha256(json.dumps(run.config, sort_keys=True).encode()).hexdigest(),
        model_id=run.model_id,
        base_digest=known.get("base_model", {}).get("digest"),
        base_version_digest=known.get("registry", {}).get("digest"),
        template=known.get("template", {}).get("name"),
        seed=run.config["seed"],
        packages=known.get("packages", {}),
    )


async def _figures(session: AsyncSession, run: Run) -> list[Figure]:
    """The newest evaluation of each board that the run is on, newest first."""
    boards = set()
    found = []
    for stored in await evaluations.evaluations(session, [Evaluation.run_id == run.id], _NEWEST):
        board = leaderboard.board_of(*stored)
        if board in boards:
            continue
        boards.add(board)
        seen = leaderboard.view(*stored)
        found.append(
            Figure(
                evaluation_id=seen.id,
                n_contaminated=seen.contamination.n if seen.contamination else None,
                **{name: getattr(seen, name) for name in _SAME},
            )
        )
    return found


_SAME = (
    *("created_at", "eval_set", "eval_set_digest", "judge", "judge_digest", "decoding_digest"),
    *("n_items", "n_scored", "score", "ci", "established"),
)
