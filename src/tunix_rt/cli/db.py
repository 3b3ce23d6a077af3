"""`tunix-rt db`: the database's version."""

import click

from tunix_rt import migrations
from tunix_rt.base.db import DATABASE_DOWN, Database, explain
from tunix_rt.base.errors import Conflict
from tunix_rt.base.settings import Settings
from tunix_rt.cli import show


def _url() -> str:
    settings = Settings()
    if Database(settings.sqlalchemy_url).is_sqlite:
        settings.home.mkdir(parents=True, exist_ok=True)
    return settings.sqlalchemy_url


@click.group()
def db() -> None:
    """Migrate the database (TUNIX_RT_DATABASE_URL, else SQLite under TUNIX_RT_HOME)."""


def _now_at(url: str, as_json: bool) -> None:
    found, needed = migrations.current(url), migrations.head()
    if as_json:
        show.document({"current": found, "head": needed})
    else:
        click.echo(f"{found or 'empty'} (this release needs {needed})")


@db.command()
@show.json_option
def upgrade(as_json: bool) -> None:
    """Bring the database up to this release."""
    url = _url()
    try:
        migrations.upgrade(url)
        _now_at(url, as_json)
    except DATABASE_DOWN as error:
        raise explain(error) from error


@db.command()
@click.argument("to")
@click.option("--yes", is_flag=True, help="Do it: tables above that version are dropped with what they hold.")
@show.json_option
def downgrade(to: str, yes: bool, as_json: bool) -> None:
    """Take the database back to version TO (`base` empties it)."""
    if not yes:
        raise Conflict(
            f"Going back to {to!r} drops tables with all that they hold.",
            hint=f"Make a backup, then run: tunix-rt db downgrade {to} --yes",
        )
    url = _url()
    try:
        migrations.downgrade(url, to)
        _now_at(url, as_json)
    except DATABASE_DOWN as error:
        raise explain(error) from error


@db.command()
@show.json_option
def current(as_json: bool) -> None:
    """Show the database's version."""
    try:
        _now_at(_url(), as_json)
    except DATABASE_DOWN as error:
        raise explain(error) from error


@db.command()
@show.json_option
def check(as_json: bool) -> None:
    """Compare the database with what this release expects; exit 4 when they differ."""
    try:
        changes = migrations.drift(_url())
    except DATABASE_DOWN as error:
        raise explain(error) from error
    if changes:
        raise Conflict(
            "The database differs from the models:\n  " + "\n  ".join(changes), hint="Run: tunix-rt db upgrade"
        )
    if as_json:
        show.document({"drift": []})
    else:
        click.echo("The database is what this release expects.")
