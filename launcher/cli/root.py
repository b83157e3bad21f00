"""The group of all commands, each in a module that is imported when it is asked for."""

import difflib
from importlib import import_module
from typing import Any

import click

from launcher.cli.commands import ALIASES, COMMANDS, IMPLICIT_RUN, MEANT
from launcher.cli.options import version
from launcher.errors import UsageError

__all__ = ["root"]


class Root(click.Group):
    """Finds commands by name; no command means ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` in front of options that are not the group's own."""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if ctx.resilient_parsing and not args:  # a shell asks what could come
            return super().parse_args(ctx, args)
        if not args or (args[0].startswith("-") and args[0] not in own):
            ctx.meta[IMPLICIT_RUN] = True
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every command once, in the order of a first day with it."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import the command of that name or alias."""
        place = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with what was probably meant: another one, or an app."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise UsageError(_no_such_command(args[0]))
        return super().resolve_command(ctx, args)


def _no_such_command(word: str) -> str:
    if word in MEANT:
        return f"no such command {word!r}; here it is: python -m launcher {MEANT[word]}"
    if near := difflib.get_close_matches(word, [*COMMANDS, *ALIASES], n=1):
        return f"no such command {word!r}; did you mean {near[0]!r}?"
    return f"no such command {word!r}; to run an app: python -m launcher run {word}"


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@version
def root(**_: Any) -> None:
    """Run a Python web app on every core: a cluster of gunicorn workers.

    Without a command: run, with its options.

    \b
    python -m launcher run myapp:app -w 4    serve an app in the foreground
    python -m launcher start myapp:app       the same in the background
    python -m launcher list                  what runs (also: ls, status)
    python -m launcher reload myapp          load its new code, lose no request
    python -m launcher stop myapp            finish the requests, then stop
    """
