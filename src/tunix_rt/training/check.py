"""A dry run: every check of a training attempted by itself, as facts."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tunix_rt.base import store
from tunix_rt.base.errors import BadInput, NotFound, Problem
from tunix_rt.training import child, engines, signals
from tunix_rt.training.child import Accounts
from tunix_rt.training.engines import Engine, abilities
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.plan import Plan, check_disk, check_memory
from tunix_rt.training.record import failure


def facts(folder: RunFolder, device: str, stopping: Callable[[], bool] = signals.never) -> dict[str, Any]:
    """Check everything that `child.prepare` does, and go on after what is wrong.

    Args:
        folder: the run directory.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        stopping: whether somebody wants us to stop.

    Returns:
        `ok`, and by name each check with its facts: `config`, `dataset`, `ledger`, `engine`, `device`, `plan`,
        `disk`. A check's `ok` is True, False (then `problem` has code, detail, hint and faults), or None where an
        earlier one left it nothing to check.

    Raises:
        Stopped: somebody wants us to.
    """
    checks = _Checks(stopping)
    config = checks.attempt("config", lambda facts: _config(folder, facts))
    checks.attempt("dataset", lambda facts: _dataset(folder, facts))
    accounts = checks.attempt("ledger", lambda facts: _ledger(folder, stopping, facts), config)
    engine = checks.attempt("engine", lambda facts: _engine(folder, device, facts), config)
    found = checks.attempt(
        "device", lambda facts: _device(engine, device, facts), engine, {"asked": device, "found": []}
    )
    planned = checks.attempt("plan", lambda facts: _plan(folder, accounts, engine, found, facts), accounts and found)
    checks.attempt("disk", lambda facts: _disk(planned, folder, facts), planned)
    return {"ok": all(found["ok"] for found in checks.found.values()), **checks.found}


def first_problem(found: dict[str, Any]) -> dict[str, Any] | None:
    """The problem of the first failed check; None where all is well."""
    problems = (check["problem"] for check in found.values() if isinstance(check, dict) and check["ok"] is False)
    return next(problems, None)


class _Checks:
    """The checks so far."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._stopping = stopping

    def attempt(
        self, name: str, check: Callable[[dict[str, Any]], Any], needs: Any = True, known: dict[str, Any] | None = None
    ) -> Any:
        """Make a check, unless what it needs is None.

        Args:
            name: of the check.
            check: enters what it finds into the dict that it gets; returns what later checks need.
            needs: what an earlier one returned.
            known: facts that are there before.

        Returns:
            What the check returned; None where it failed or was not made.
        """
        signals.heed(self._stopping)
        facts = self.found[name] = {"ok": None, **(known or {})}
        if needs is None:
            return None
        try:
            result = check(facts)
        except Problem as problem:
            facts |= {"ok": False, "problem": failure(problem)}
            return None
        facts["ok"] = True
        return result


def _config(folder: RunFolder, facts: dict[str, Any]) -> Any:
    facts |= folder.config.model_dump(mode="json")
    return folder.config


def _dataset(folder: RunFolder, facts: dict[str, Any]) -> None:
    facts |= {name: folder.provenance["dataset"].get(name) for name in ("dataset_key", "digest", "splits")}
    for split in child.SPLITS:
        path = folder.path / "data" / f"{split}.jsonl"
        expected = folder.provenance.get(split)
        if expected is None:
            continue
        if not path.is_file():
            raise NotFound(f"There is no {path}.", hint="Start the run anew in another folder.")
        if store.digest(path) != expected["digest"]:
            raise BadInput(
                f"{path} is not what was written: its SHA-256 differs.", hint="Start the run anew in another folder."
            )


def _ledger(folder: RunFolder, stopping: Callable[[], bool], facts: dict[str, Any]) -> Accounts:
    accounts = child.account(folder, stopping)
    facts |= {split: ledger.document() if ledger.total else None for split, ledger in accounts.ledgers.items()}
    accounts.refuse()
    return accounts


def _engine(folder: RunFolder, device: str, facts: dict[str, Any]) -> Engine:
    name = folder.config.engine
    facts |= {"name": name, "version": engines.capabilities()[name].version}
    abilities.refuse(folder.config, device, folder.base)
    return engines.load(name)


def _device(engine: Engine, device: str, facts: dict[str, Any]) -> list[str]:
    try:
        found = engine.devices(device)
    except BadInput:
        with suppress(Problem):  # what is there instead, where that can be told
            facts["found"] = engine.devices("auto")
        raise
    facts["found"] = found
    return found


def _plan(folder: RunFolder, accounts: Accounts, engine: Engine, devices: list[str], facts: dict[str, Any]) -> Plan:
    began = time.monotonic()
    plan = child.planned(folder, accounts, engine, devices)
    facts |= plan.document()
    check_memory(folder.config, plan, child.predictor(folder, accounts, engine), began)
    return plan


def _disk(plan: Plan, folder: RunFolder, facts: dict[str, Any]) -> None:
    facts |= {"needed_bytes": plan.disk_bytes, "free_bytes": shutil.disk_usage(folder.path).free}
    check_disk(plan, folder.path)
