"""`tunix-rt doctor`: what this machine has, ready to paste into a report."""

import os
import platform
import shutil
import sys
from typing import Any

import click
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from tunix_rt import __version__, migrations
from tunix_rt.base import extras
from tunix_rt.base.db import DATABASE_DOWN, explain
from tunix_rt.base.errors import Problem
from tunix_rt.base.settings import Settings
from tunix_rt.cli import door, show
from tunix_rt.training import probe
from tunix_rt.training.engines import abilities
from tunix_rt.training.provenance import packages


@click.command()
@show.json_option
@click.pass_obj
def doctor(obj: dict[str, Any], as_json: bool) -> None:
    """Show versions, devices, database, disk, workers and extras; secrets are left out."""
    settings = Settings()
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    found: dict[str, Any] = {
        "tunix-rt": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "home": str(settings.home),
        "disk free": f"{shutil.disk_usage(folder).free / 2**30:,.1f} GiB",
        "database": _shown(settings.sqlalchemy_url),
        "database version": _database(settings),
        "server": obj["url"] or "none: commands work on the database of this machine",
        **_system(obj["url"], settings),
        "engines": {name: _engine(known) for name, known in probe.ask().items()},
        **{f"{name} does": _abilities(able) for name, able in abilities.CAPABILITIES.items()},
        "extras": {name: not extras.missing(name) for name in extras.MODULES},
        "packages": packages(),
    }
    if as_json:
        show.document(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(
                f"{key} {'yes' if is_there is True else is_there or 'no'}" for key, is_there in value.items()
            )
        click.echo(f"{name:<17}{show.printable(str(value))}")


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "TUNIX_RT_DATABASE_URL is not a database URL"


def _database(settings: Settings) -> str:
    try:
        if not _exists(settings):
            return "not made yet"
        return f"{migrations.current(settings.sqlalchemy_url)} (this release needs {migrations.head()})"
    except DATABASE_DOWN as error:
        return explain(error).detail
    except Problem as problem:
        return f"{problem.detail} {problem.hint or ''}".strip()


def _exists(settings: Settings) -> bool:
    return bool(settings.database_url) or (settings.home / "tunix-rt.db").exists()


def _system(url: str | None, settings: Settings) -> dict[str, Any]:
    """What the API says of itself: readiness, workers, queue; of this machine's database only where there is one."""
    if url is None and not _exists(settings):
        return {"workers": "none", "runs": "none"}

    async def ask() -> dict[str, Any]:
        async with door.client(url) as api:
            ready = (await api.get("/api/ready")).json()
            workers = await door.call(api, "GET", "/api/workers")
            waiting = await door.call(api, "GET", "/api/tunix/runs", params={"status": ["pending"], "limit": 200})
            running = await door.call(
                api, "GET", "/api/tunix/runs", params={"status": ["running", "cancel_requested"], "limit": 200}
            )
        alive = [_worker(one) for one in workers["data"] if one["alive"]]
        failed = [f"{name}: {check['detail']}" for name, check in ready["checks"].items() if not check["ok"]]
        return {
            "ready": "; ".join([ready["status"], *failed]),
            "workers": ", ".join(alive) or "none is running: start one with `tunix-rt worker` or `tunix-rt serve`",
            "runs": f"{_count(waiting)} waiting, {_count(running)} running",
        }

    try:
        return door.run(ask())
    except Problem as problem:
        return {"ready": f"{problem.detail} {problem.hint or ''}".strip()}


def _count(page: Any) -> str:
    return f"{len(page['data'])}{'+' if page['pagination']['next_cursor'] else ''}"


def _worker(one: dict[str, Any]) -> str:
    doing = f"does run {one['current_run'][:13]}" if one["current_run"] else "idle"
    return f"{one['name']} ({doing}{', draining' if one['draining'] else ''})"


def _abilities(able: abilities.Ability) -> str:
    return "; ".join(f"{what} {', '.join(values)}" for what, values in able.document().items() if values)


def _engine(known: dict[str, Any]) -> str:
    if not known["available"]:
        return f"not available: {known['reason']}"
    return f"{known['version']} on {', '.join(known['devices'])}"
