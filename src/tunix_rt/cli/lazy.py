"""Groups whose commands are imported when they are called: what one needs, the others and `--help` do without."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from tunix_rt.base.errors import nearest


class Lazy(click.Group):
    """A group of commands by name: where each one is (`module:attribute`), and one line of help."""

    def __init__(self, *, table: Mapping[str, tuple[str, str]], **about: Any) -> None:
        super().__init__(**about)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.table:
            return None
        module, attribute = self.table[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.table:
            raise click.UsageError(f"No command {args[0]!r}.{nearest(args[0], self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])
