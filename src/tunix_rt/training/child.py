"""A training, from a run directory to its end: the ledger, the plan, the engine, and one `end` event, always."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tunix_rt.base.errors import BadInput
from tunix_rt.training import card, engines, packing, parity, samples, signals
from tunix_rt.training.batches import RowBatches
from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Engine, Job, Outcome, Samples, abilities, manifests, memory_formula
from tunix_rt.training.engines.memory import Memory, Shape
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.ledger import Ledger, rows
from tunix_rt.training.plan import Plan, Predictor, check_disk, check_memory, estimated_seconds, plan, worst_batch
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
        config: the run's.
    """

    rows: dict[str, list[Row]]
    ledgers: dict[str, Ledger]
    tokenizer: Folder
    config: TrainingConfig

    def refuse(self) -> None:
        """Stop before anything is trained, if this data must not be.

        Raises:
            BadInput: rows that cannot be trained, named; no row at all. No evaluation split is fine, unless
                keep_best or early_stopping_evals go by its loss, or samples are of it.
        """
        for split, what in SPLITS.items():
            if split == "train" or self.ledgers[split].total:
                self.ledgers[split].refuse(what)
        prompts, split = self.config.samples, self.config.data.eval_split
        if prompts and not self.rows["eval"]:
            raise BadInput(
                f"samples: {prompts} prompts of the split {split!r} are asked for, and it has no rows.",
                hint="Name a split of the data set by data.eval_split, or leave samples out of the config.",
            )
        asked = [name for name in ("keep_best", "early_stopping_evals") if getattr(self.config, name)]
        if asked and not self.rows["eval"]:
            raise BadInput(
                f"{' and '.join(asked)}: the evaluation loss decides, but the split {split!r} has no rows.",
                hint="Name a split of the data set by data.eval_split, or leave that out of the config.",
            )


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
    ledgers = {split: Ledger(config.data, tokenizer.digest, config) for split in SPLITS}
    kept: dict[str, list[Row]] = {}
    for split, ledger in ledgers.items():
        kept[split] = []
        for row in rows(folder.traces(split), tokenizer, config.data, ledger):
            kept[split].append(row)
            signals.heed(stopping)
    return Accounts(kept, ledgers, tokenizer, config)


def planned(folder: RunFolder, accounts: Accounts, engine: Engine, devices: list[str], exact: bool = True) -> Plan:
    """Work out what a training of these rows by this engine on these devices takes.

    Args:
        folder: the run.
        accounts: its data.
        engine: the config's.
        devices: as the engine lists them.
        exact: predict the memory as well as the engine can; else only where a rough figure does not fit with room
            to spare, which starts a small training sooner.

    Raises:
        BadInput: a model that does not load; what the engine cannot do on these devices together.
    """
    config, vocabulary = folder.config, accounts.tokenizer.size
    abilities.refuse_here(config, devices)
    parameters = engine.parameters(config, vocabulary, folder.base)
    predict = predictor(folder, accounts, engine)
    memory = predict(config, lambda rough: not rough.hopeless and (exact or not rough.ample))
    evaluation_rows, train = len(accounts.rows["eval"]), accounts.ledgers["train"]
    seconds = _seconds(folder, accounts, engine) if memory.fits else None
    return plan(config, train, evaluation_rows, vocabulary, parameters, devices[0], memory, seconds)


def _seconds(folder: RunFolder, accounts: Accounts, engine: Engine) -> Callable[[int], float]:
    config, vocabulary = folder.config, accounts.tokenizer.size
    train, evaluation = (packing.buckets(ledger.lengths, config) for ledger in accounts.ledgers.values())
    groups = train, evaluation + samples.computed(config, accounts.rows["eval"])
    shape = Shape(groups[0][0].rows, groups[0][0].width)
    d = memory_formula.dimensions(config, shape, vocabulary, folder.base)
    return partial(estimated_seconds, config, groups, d, engine.speed(config, shape, vocabulary, folder.base))


def predictor(folder: RunFolder, accounts: Accounts, engine: Engine) -> Predictor:
    """The peak memory of this data's training by a config, which may be another than the run's."""

    def predict(config: TrainingConfig, exactly: Callable[[Memory], bool]) -> Memory:
        most = config.data.max_length  # another than that which the rows were rendered by may cut or leave some out
        lengths = ([min(x, most or x) for x in ledger.lengths] for ledger in accounts.ledgers.values())
        groups = [packing.buckets(each, config) for each in lengths]
        shape = worst_batch(config, max(buckets[0].width for buckets in groups if buckets))
        vocabulary = accounts.tokenizer.size
        found = engine.memory(config, shape, vocabulary, folder.base, exactly)
        d = memory_formula.dimensions(config, shape, vocabulary, folder.base)
        return samples.counted(found, config, d, accounts.rows["eval"])

    return predict


def prepare(
    folder: RunFolder, device: str, stopping: Callable[[], bool] = signals.never, exact: bool = False
) -> Prepared:
    """Account for the data and plan the run; the start of every training, and all of `--plan`.

    Args:
        folder: as `folder.create` wrote it.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        stopping: whether somebody wants us to stop.

    Raises:
        MissingExtra: the engine is not installed.
        BadInput: what the engine cannot do; rows that cannot be trained, named; a device that is not there; a model
            that does not load.
        DiskFull: the checkpoints will not fit.
        Stopped: somebody did.
    """
    engines.require(folder.config.engine)
    abilities.refuse(folder.config, device, folder.base)
    accounts = account(folder, stopping)
    accounts.refuse()
    engine = engines.load(folder.config.engine)
    signals.heed(stopping)
    began = time.monotonic()
    plan = planned(folder, accounts, engine, engine.devices(device), exact)
    signals.heed(stopping)
    check_memory(folder.config, plan, predictor(folder, accounts, engine), began)
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
        with signals.heard() as (stopping, saving):
            return asdict(_train(folder, prepared, resume, emit, stopping, saving))

    return Outcome(**recorded(folder.path, told, work))


def attempt(
    folder: RunFolder,
    device: str,
    emit: Callable[..., None],
    stopping: Callable[[], bool],
    saving: Callable[[], bool] = signals.never,
) -> Outcome:
    """Prepare a run directory and train it from its newest checkpoint, or its start, until the end or the wish to stop.

    Args:
        folder: the run.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        emit: writes an event; the `end` event is the caller's.
        stopping: whether somebody wants us to stop.
        saving: whether somebody has wished for a checkpoint since it was asked last.

    Raises:
        Problem: whatever ended the training.
    """
    try:
        prepared = prepare(folder, device, stopping)
    except signals.Stopped:
        return Outcome("stopped", saved_step(folder.path))
    return _train(folder, prepared, True, emit, stopping, saving)


def _train(
    folder: RunFolder,
    prepared: Prepared,
    resume: bool,
    emit: Callable[..., None],
    stopping: Callable[[], bool],
    saving: Callable[[], bool],
) -> Outcome:
    config, fingerprint = folder.config, folder.fingerprint()
    whole = manifests.newest_whole(folder.path, fingerprint, partial(emit, "warning")) if resume else None
    checkpoint = whole[0] if whole else None
    if checkpoint:
        _warn_of_other_packages(folder.provenance["packages"], packages(), emit)
    ledgers = {split: ledger.document() for split, ledger in prepared.ledgers.items()}
    emit("plan", **prepared.plan.document(), ledger=ledgers, resumed_from=checkpoint.name if checkpoint else None)
    batches = RowBatches(prepared.train, prepared.evaluation, config, padding=prepared.tokenizer.padding)
    outcome = engines.load(config.engine).train(
        Job(
            folder=folder.path,
            config=config,
            batches=batches,
            vocabulary=prepared.tokenizer.size,
            total_steps=prepared.plan.steps,
            base=folder.base,
            tokenizer=folder.tokenizer,
            special=prepared.tokenizer.special,
            resume_from=checkpoint,
            fingerprint=fingerprint,
            emit=emit,
            stopping=stopping,
            saving=saving,
            start=folder.start,
            samples=_samples(folder, prepared, batches.width, emit),
        )
    )
    if outcome.reason == "completed":
        served = parity.at_the_end(folder)
        emit("parity", **served)
        parity.refuse(served, folder.model)
        card.write(folder, served)
    return outcome


def _samples(folder: RunFolder, prepared: Prepared, width: int, emit: Callable[..., None]) -> Samples | None:
    tokenizer, asked = prepared.tokenizer, folder.config.samples
    d = memory_formula.dimensions(folder.config, Shape(1, width), tokenizer.size, folder.base)
    found = samples.chosen(folder, prepared.evaluation, tokenizer, d)
    if found is not None and len(found.prompts) < asked:
        detail = f"{len(found.prompts)} of {asked} samples: the evaluation split has no more different prompts"
        emit("warning", kind="samples", detail=detail)
    return found


def _warn_of_other_packages(before: Mapping[str, str], now: Mapping[str, str], emit: Callable[..., None]) -> None:
    changed = {name: [before.get(name), now[name]] for name in now if before.get(name) != now[name]}
    if changed:
        emit("warning", kind="environment", detail="resumed with other versions: bits may differ", changed=changed)
