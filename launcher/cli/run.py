"""``run``: a cluster in the foreground. Its options are the table in ``launcher.settings``."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from launcher.cli.root import COMMANDS, IMPLICIT_RUN, version
from launcher.errors import UsageError
from launcher.settings import OPTIONS, Option, resolve

__all__ = ["run", "settings_options"]

F = TypeVar("F", bound=Callable[..., Any])


def _parameter(row: Option) -> Callable[[F], F]:
    if row.positional:
        return click.argument(row.name, metavar=f"[{row.metavar}]", required=False)
    text = f"{row.help}{_default(row.default)}"
    if row.switch:
        return click.option(
            f"{row.flag}/{row.flag.replace('--', '--no-', 1)}", default=None, help=text
        )
    names = [name for name in (row.short, row.flag) if name]
    return click.option(*names, row.name, metavar=row.metavar, multiple=row.repeatable, help=text)


def _default(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f"  [default: {'on' if value else 'off'}]"
        case float():
            return f"  [default: {value:g}]"
        case tuple():
            return f"  [default: {', '.join(value)}]"
        case _:
            return f"  [default: {value}]"


def settings_options(function: F) -> F:
    """Give a command every option of the table, as texts for ``resolve`` to read."""
    for row in reversed(OPTIONS):
        function = _parameter(row)(function)
    return function


@click.command(
    epilog="Every option can also be set as a variable: LAUNCHER_WORKERS=4 for --workers 4.\n\n"
    "Example: python -m launcher run myapp:app --workers 4 --bind :8000"
)
@settings_options
@version
@click.pass_context
def run(context: click.Context, /, **flags: Any) -> int:
    """Serve APP on every core, in the foreground, until Ctrl-C or TERM.

    APP is module:attribute or module:factory(), as for gunicorn; without it,
    app:create_app(). Where the variable PORT is set, listens on 0.0.0.0:$PORT.
    """
    if context.meta.get(IMPLICIT_RUN) and (word := flags["app"]):
        command = word if word in COMMANDS else f"run {word}"
        raise UsageError(f"the command comes first: python -m launcher {command} ...")
    return _serve(flags)


def _serve(flags: dict[str, Any]) -> int:
    settings = resolve(flags, os.environ)
    from launcher.home import Home

    with Home.open() as home, home.claim(settings.name) as folder:
        from launcher.primary.main import serve  # last: what is wrong so far is told at once

        return serve(settings, folder)
