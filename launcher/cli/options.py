"""The options of ``run`` and ``start``, made from the table in ``launcher.config.settings``."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from launcher.cli.text import complain
from launcher.config.settings import OPTIONS, Option
from launcher.config.variables import strays

__all__ = ["settings_options", "tell_strays"]

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(function: F) -> F:
    """Give a command every option of the table, as texts for ``resolve`` to read."""
    for row in reversed(OPTIONS):
        if not row.positional:
            function = _parameter(row)(function)
    return function


def tell_strays(environ: Mapping[str, str]) -> None:
    """Name the variables that somebody may take for options, and that are none."""
    for line in strays(environ, (row.variable for row in OPTIONS)):
        complain(line)


def _parameter(row: Option) -> Callable[[F], F]:
    text = f"{row.help}{_default(row.default)}"
    if row.switch:
        return click.option(
            f"{row.flag}/{row.flag.replace('--', '--no-', 1)}", default=None, help=text
        )
    names = [name for name in (row.short, row.flag) if name]
    return click.option(*names, row.name, metavar=row.metavar, multiple=row.repeatable, help=text)


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case bool():
            return f"  [default: {'on' if value else 'off'}]"
        case float():
            return f"  [default: {value:g}]"
        case tuple():
            return f"  [default: {', '.join(value)}]"
        case _:
            return f"  [default: {value}]"
