"""`tunix-rt doctor`: what this machine has, ready to paste into a report."""

import importlib.util
import os
import platform
import shutil
import sys
from typing import Any

import click
from sqlalchemy import make_url

from tunix_rt import __version__, migrations
from tunix_rt.base.db import DATABASE_DOWN, explain
from tunix_rt.base.errors import Problem
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show
from tunix_rt.training import engines
from tunix_rt.training.folder import packages

EXTRAS = {"tunix": "tunix", "torch": "torch", "ray": "ray", "postgres": "psycopg"}


@click.command()
@show.json_option
def doctor(as_json: bool) -> None:
    """Show versions, devices, database, disk and extras; secrets are left out."""
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
        "database": make_url(settings.sqlalchemy_url).render_as_string(hide_password=True),
        "database version": _database(settings),
        "devices": _devices(),
        "extras": {name: importlib.util.find_spec(module) is not None for name, module in EXTRAS.items()},
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
        click.echo(f"{name:<17}{value}")


def _database(settings: Settings) -> str:
    try:
        if not settings.database_url and not (settings.home / "tunix-rt.db").exists():
            return "not made yet"
        return f"{migrations.current(settings.sqlalchemy_url)} (this release needs {migrations.head()})"
    except DATABASE_DOWN as error:
        return explain(error).detail


def _devices() -> str:
    try:
        return ", ".join(engines.load("tunix").devices("auto"))
    except Problem as problem:
        return f"{problem.detail} {problem.hint or ''}".strip()
