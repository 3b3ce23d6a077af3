"""A training, from a run directory to its end: the ledger, the plan, the engine, and one `end` event, always."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunix_rt.training import engines, signals
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.engines import Engine, Job, Outcome
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.ledger import Ledger, rows
from tunix_rt.training.plan import Plan, check_disk, plan
from tunix_rt.training.provenance import packages
from tunix_rt.training.record import Told, recorded, saved_step
from tunix_rt.training.render import Row
from tunix_rt.training.tokenizer import Folder

SPLITS = {"train": "The training split", "eval": "The evaluation split"}


@dataclass(frozen=True)
class Accounts:
    """The data of a run directory, rendered.

    Attributes:
        rows: those that are trained, by split (`train`, `eval`).
        ledgers: what became of each row, by split.
        tokenizer: the run's.
    """

    rows: dict[str, list[Row]]
    ledgers: dict[str, Ledger]
    tokenizer: Folder

    def refuse(self) -> None:
        """Stop before anything is trained, if this data must not be.

        Raises:
            BadInput: rows that cannot be trained, named; no row at all. No evaluation split is fine.
        """
        for split, what in SPLITS.items():
            if split == "train" or self.ledgers[split].total:
                self.ledgers[split].refuse(what)


@dataclass(frozen=True)
class Prepared:
    """A run directory that has passed every check.

    Attributes:
        train: training rows.
        evaluation: evaluation rows.
        ledgers: of both splits, by name.
        plan: what will be done.
        tokenizer: the run's.
    """

    train: list[Row]
    evaluation: list[Row]
    ledgers: dict[str, Ledger]
    plan: Plan
    tokenizer: Folder


def account(folder: RunFolder, stopping: Callable[[], bool] = signals.never) -> Accounts:
    """Render both splits.

    Raises:
        BadInput: a tokenizer that does not load.
        Stopped: while rows were rendered.
    """
    config, tokenizer = folder.config, Folder(folder.tokenizer)
    ledgers = {split: Ledger(config.data, tokenizer.digest) for split in SPLITS}
    kept: dict[str, list[Row]] = {}
    for split, ledger in ledgers.items():
        kept[split] = []
        for row in rows(folder.traces(split), tokenizer, config.data, ledger):
            kept[split].append(row)
            signals.heed(stopping)
    return Accounts(kept, ledgers, tokenizer)


def planned(folder: RunFolder, accounts: Accounts, engine: Engine, devices: list[str]) -> Plan:
    """Work out what a training of these rows by this engine on these devices takes.

    Raises:
        BadInput: a model that does not load.
    """
    parameters = engine.parameters(folder.config, accounts.tokenizer.size, folder.base)
    evaluation_rows, vocabulary = len(accounts.rows["eval"]), accounts.tokenizer.size
    return plan(folder.config, accounts.ledgers["train"], evaluation_rows, vocabulary, parameters, devices[0])


def prepare(folder: RunFolder, device: str, stopping: Callable[[], bool] = signals.never) -> Prepared:
    """Account for the data and plan the run; the start of every training, and all of `--plan`.

    Args:
        folder: as `folder.create` wrote it.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        stopping: whether somebody wants us to stop.

    Raises:
        BadInput: rows that cannot be trained, named; a device that is not there; a model that does not load.
        DiskFull: the checkpoints will not fit.
        Stopped: somebody did.
    """
    accounts = account(folder, stopping)
    accounts.refuse()
    engine = engines.load(folder.config.engine)
    signals.heed(stopping)
    plan = planned(folder, accounts, engine, engine.devices(device))
    check_disk(plan, folder.path)
    signals.heed(stopping)
    return Prepared(accounts.rows["train"], accounts.rows["eval"], accounts.ledgers, plan, accounts.tokenizer)


def run(folder: RunFolder, prepared: Prepared, resume: bool, told: Told | None = None) -> Outcome:
    """Train a run directory to its end, or to a stop by SIGINT or SIGTERM.

    Args:
        folder: the run.
        prepared: what `prepare` made of it.
        resume: go on from the newest checkpoint; from the start where there is none yet.
        told: is given each event as it is written.

    Raises:
        Problem: whatever ended the training; the `end` event names it too.
    """

    def work(emit: Callable[..., None]) -> dict[str, Any]:
        with signals.heard() as stopping:
            return asdict(_train(folder, prepared, resume, emit, stopping))

    return Outcome(**recorded(folder.path, told, work))


def attempt(folder: RunFolder, device: str, emit: Callable[..., None], stopping: Callable[[], bool]) -> Outcome:
    """Prepare a run directory and train it from its newest checkpoint, or its start, until the end or the wish to stop.

    Args:
        folder: the run.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        emit: writes an event; the `end` event is the caller's.
        stopping: whether somebody wants us to stop.

    Raises:
        Problem: whatever ended the training.
    """
    try:
        prepared = prepare(folder, device, stopping)
    except signals.Stopped:
        return Outcome("stopped", saved_step(folder.path))
    return _train(folder, prepared, True, emit, stopping)


def _train(
    folder: RunFolder, prepared: Prepared, resume: bool, emit: Callable[..., None], stopping: Callable[[], bool]
) -> Outcome:
    config = folder.config
    checkpoints = folder.checkpoints() if resume else []
    if checkpoints:
        _warn_of_other_packages(folder.provenance["packages"], packages(), emit)
    ledgers = {split: ledger.document() for split, ledger in prepared.ledgers.items()}
    emit("plan", **prepared.plan.document(), ledger=ledgers, resumed_from=checkpoints[-1].name if checkpoints else None)
    return engines.load(config.engine).train(
        Job(
            folder=folder.path,
            config=config,
            batches=RowBatches(
                prepared.train,
                prepared.evaluation,
                width=max(ledger.width for ledger in prepared.ledgers.values()),
                batch_size=config.batch_size,
                accumulation=config.accumulation,
                seed=config.seed,
                padding=prepared.tokenizer.padding,
            ),
            vocabulary=prepared.tokenizer.size,
            total_steps=prepared.plan.steps,
            base=folder.base,
            tokenizer=folder.tokenizer,
            special=prepared.tokenizer.special,
            resume_from=checkpoints[-1] if checkpoints else None,
            fingerprint=folder.fingerprint(),
            emit=emit,
            stopping=stopping,
        )
    )


def _warn_of_other_packages(before: Mapping[str, str], now: Mapping[str, str], emit: Callable[..., None]) -> None:
    changed = {name: [before.get(name), now[name]] for name in now if before.get(name) != now[name]}
    if changed:
        emit("warning", kind="environment", detail="resumed with other versions: bits may differ", changed=changed)
