"""Which items of an eval set stand in the traces that a model was trained on: looked for once, then kept."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base import jsontext
from tunix_rt.base.db import Database
from tunix_rt.datasets import seal
from tunix_rt.datasets import service as datasets
from tunix_rt.datasets.contamination import METHOD, Check, Findings, Overlap
from tunix_rt.evaluation import eval_sets
from tunix_rt.evaluation.models import ContaminationCheck, EvalSet
from tunix_rt.evaluation.schemas import ContaminatedItem, ContaminationView

TRAIN = "train"


@dataclass(frozen=True)
class _Asked:
    """A training split, by its own digest (that of the data set says nothing of the splits), and the questions."""

    split_digest: str
    eval_set: int
    prompts: list[str]
    known: Findings | None


async def check(database: Database, dataset_key: str, eval_set: EvalSet) -> Findings:
    """What of an eval set stands in the training split of a data set.

    No session is held while traces are compared, and what was found is kept: the same question costs nothing again.

    Raises:
        NotFound: no such data set, or it has no training split.
    """
    async with database.read() as session:
        asked = await _asked(session, dataset_key, eval_set)
    if asked.known is not None:
        return asked.known
    looked = await asyncio.to_thread(Check, asked.prompts)
    async for batch in await datasets.open_export(database, dataset_key, "trace", TRAIN):
        await asyncio.to_thread(_add, looked, batch)
    findings = await asyncio.to_thread(looked.findings)
    row = ContaminationCheck(
        dataset_digest=asked.split_digest,
        eval_set_number=asked.eval_set,
        method=METHOD,
        n_traces=findings.n_traces,
        found={str(position): asdict(overlap) for position, overlap in findings.overlaps.items()},
    )
    async with database.write() as session:
        try:
            async with session.begin_nested():
                session.add(row)
        except IntegrityError:  # somebody else has found the same meanwhile
            pass
    return findings


def _add(looked: Check, batch: bytes) -> None:
    looked.add(jsontext.loads(line) for line in batch.split(b"\n") if line)


async def _asked(session: AsyncSession, dataset_key: str, eval_set: EvalSet) -> _Asked:
    splits: Mapping[str, Any] = (await seal.get(session, dataset_key)).manifest["splits"]
    digest = splits[TRAIN]["digest"] if TRAIN in splits else ""
    query = select(ContaminationCheck).where(
        ContaminationCheck.dataset_digest == digest,
        ContaminationCheck.eval_set_number == eval_set.number,
        ContaminationCheck.method == METHOD,
    )
    known = await session.scalar(query)
    if known is not None:
        found = {int(position): Overlap(**overlap) for position, overlap in known.found.items()}
        findings = Findings(eval_set.n_items, known.n_traces, dict(sorted(found.items())))
        return _Asked(digest, eval_set.number, [], findings)
    items = await eval_sets.items(session, eval_set)
    return _Asked(digest, eval_set.number, [item.prompt for item in items], None)


async def view(database: Database, dataset_key: str, eval_set_name: str) -> ContaminationView:
    """`check` with the names of the items, for the eye.

    Raises:
        NotFound: no such data set or eval set.
    """
    async with database.read() as session:
        eval_set = await eval_sets.find(session, eval_set_name)
    findings = await check(database, dataset_key, eval_set)
    async with database.read() as session:
        items = await eval_sets.items(session, eval_set)
    return ContaminationView(
        dataset_key=dataset_key,
        eval_set=eval_set.digest,
        split=TRAIN,
        **findings.summary(),
        items=[ContaminatedItem(id=items[at].item_id, **asdict(overlap)) for at, overlap in findings.overlaps.items()],
    )
