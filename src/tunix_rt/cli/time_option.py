"""Command-line options that take a time."""

from collections.abc import Callable
from typing import Any

import click

from tunix_rt.base.errors import WrongUsage, cut
from tunix_rt.base.times import parse_utc


def time_option(*names: str, help: str) -> Callable[[Any], Any]:
    """Add an option whose value is a time, converted to the text that the API takes; without a zone it is UTC."""
    return click.option(*names, metavar="TIME", callback=_to_utc, help=help)


def _to_utc(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else parse_utc(value).isoformat()
    except ValueError as error:
        raise WrongUsage(
            f"{option.opts[0]} {cut(str(value), 60)!r} {error}. A date alone will do: 2026-01-31"
        ) from None
