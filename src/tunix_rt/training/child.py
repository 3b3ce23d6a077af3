"""A training, from a run directory to its end: the ledger, the plan, the engine, and one `end` event, always."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tunix_rt.base.errors import Problem
from tunix_rt.training import engines
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.engines import Job, Outcome
from tunix_rt.training.events import EventLog
from tunix_rt.training.folder import RunFolder, packages
from tunix_rt.training.ledger import Ledger, rows
from tunix_rt.training.plan import Plan, check_disk, plan
from tunix_rt.training.render import Row
from tunix_rt.training.tokenizer import Folder


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


def prepare(folder: RunFolder, device: str) -> Prepared:
    """Account for the data and plan the run; the start of every training, and all of `--plan`.

    Args:
        folder: as `folder.create` wrote it.
        device: `auto`, `cpu`, `gpu` or `tpu`.

    Raises:
        BadInput: rows that cannot be trained, named; a device that is not there; a model that does not load.
        DiskFull: the checkpoints will not fit.
    """
    config, tokenizer = folder.config, Folder(folder.tokenizer)
    ledgers = {split: Ledger(config.data, tokenizer.digest) for split in ("train", "eval")}
    kept = {split: list(rows(folder.traces(split), tokenizer, config.data, ledgers[split])) for split in ledgers}
    ledgers["train"].refuse("The training split")
    if ledgers["eval"].total:
        ledgers["eval"].refuse("The evaluation split")
    engine = engines.load(config.engine)
    found = engine.devices(device)
    parameters = engine.parameters(config, tokenizer.size, folder.base)
    planned = plan(config, ledgers["train"], len(kept["eval"]), tokenizer.size, parameters, found[0])
    check_disk(planned, folder.path)
    return Prepared(kept["train"], kept["eval"], ledgers, planned, tokenizer)


def run(
    folder: RunFolder, prepared: Prepared, resume: bool, told: Callable[[str, dict[str, Any]], None] | None = None
) -> Outcome:
    """Train a run directory to its end, or to a stop by SIGINT or SIGTERM.

    Args:
        folder: the run.
        prepared: what `prepare` made of it.
        resume: go on from the newest checkpoint; from the start where there is none yet.
        told: is given each event as it is written.

    Raises:
        Problem: whatever ended the training; the `end` event names it too.
    """
    log = EventLog(folder.events)

    def emit(event: str, **fields: Any) -> None:
        log.emit(event, **fields)
        if told:
            told(event, fields)

    try:
        outcome = _train(folder, prepared, resume, emit)
        emit("end", reason=outcome.reason, step=outcome.step)
        return outcome
    except Problem as problem:
        emit("end", reason="failed", code=problem.code, detail=problem.detail)
        raise
    except Exception as error:
        emit("end", reason="failed", code="unexpected", detail=f"{type(error).__name__}: {error}")
        raise
    finally:
        log.close()


def _train(folder: RunFolder, prepared: Prepared, resume: bool, emit: Callable[..., None]) -> Outcome:
    config = folder.config
    checkpoints = folder.checkpoints() if resume else []
    if resume:
        before, present = folder.provenance["packages"], packages()
        changed = {name: [before.get(name), present.get(name)] for name in present if before.get(name) != present[name]}
        if changed:
            emit("warning", kind="environment", detail="resumed with other versions: bits may differ", changed=changed)
    ledgers = {split: ledger.document() for split, ledger in prepared.ledgers.items()}
    emit("plan", **prepared.plan.document(), ledger=ledgers, resumed_from=checkpoints[-1].name if checkpoints else None)
    with _signals() as stopping:
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


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; a second SIGINT interrupts at once."""
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        if len(asked) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
