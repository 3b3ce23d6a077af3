"""The tokenizers that this server has: of installed model folders, and of the runs that trained here."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tunix_rt.base.errors import BadInput, NotFound
from tunix_rt.runs import search, service
from tunix_rt.runs.logs import folder_of
from tunix_rt.runs.models import Run
from tunix_rt.runs.schemas import TokenizerView
from tunix_rt.training.folder import RunFolder

NEWEST = 100
_FILE = "tokenizer.json"


async def runs(session: AsyncSession) -> Sequence[Run]:
    """The newest runs that are listed; which of them have a tokenizer, their folders know."""
    listed_runs = select(Run).where(*search.where(search.RunFilters(), session))
    return (await session.scalars(listed_runs.order_by(Run.created_at.desc(), Run.id.desc()).limit(NEWEST))).all()


def listed(home: Path, newest: Sequence[Run]) -> list[TokenizerView]:
    """Model folders by name, then runs, newest first."""
    models = sorted(path.parent.name for path in (home / "models").glob(f"*/{_FILE}"))
    return [TokenizerView(tokenizer=name) for name in models] + [
        TokenizerView(run=run.id, dataset_key=run.dataset_key, created_at=run.created_at)
        for run in newest
        if (RunFolder(folder_of(home, run.id)).tokenizer / _FILE).is_file()
    ]


async def chosen(session: AsyncSession, home: Path, tokenizer: str | None, run: str | None) -> Path:
    """The folder of one: a model folder's by its name, or a run's by its id.

    Raises:
        BadInput: neither or both are named.
        NotFound: no such run, or it has no tokenizer.
    """
    if (tokenizer is None) == (run is None):
        raise BadInput("Say `tokenizer`, the name of a model folder, or `run`, the id of a run: one of them.")
    if run is None:
        return home / "models" / str(tokenizer)
    found = await service.find(session, run)
    folder = RunFolder(folder_of(home, found.id)).tokenizer
    if not (folder / _FILE).is_file():
        raise NotFound(f"The run {found.id} has no tokenizer.", hint="A run has one from the moment it starts.")
    return folder
