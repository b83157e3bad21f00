"""The options and arguments that several commands have.

Those of ``run`` and ``start`` are made from the table in `launcher.config.settings`,
which the other commands need not load.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher import __version__
from launcher.cli.text import complain

if TYPE_CHECKING:
    from launcher.config.option import Option

__all__ = ["cluster_names", "names_or_all", "settings_options", "tell_strays", "version"]

F = TypeVar("F", bound=Callable[..., Any])

version = click.version_option(__version__, prog_name="launcher", message="%(prog)s %(version)s")
"""For every command, so that ``--version`` works after it too."""


def cluster_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The clusters there are; nothing where that cannot be told."""
    from launcher.errors import LauncherError
    from launcher.state.home import Home

    try:
        home = Home.open_existing()
    except LauncherError:
        return []
    if home is None:
        return []
    with home:
        return [name for name in [*home.names(), "all"] if name.startswith(incomplete)]


names_or_all = click.argument(
    "names", metavar="NAME...|all", nargs=-1, required=True, shell_complete=cluster_names
)
"""The clusters that a command is for."""


def settings_options(function: F) -> F:
    """Give a command every option of the table, as texts for ``resolve`` to read."""
    from launcher.config.settings import OPTIONS

    for row in reversed(OPTIONS):
        if not row.positional:
            function = _parameter(row)(function)
    return function


def tell_strays(environ: Mapping[str, str]) -> None:
    """Name the variables that look like options and are none."""
    from launcher.config.settings import OPTIONS
    from launcher.config.variables import strays

    for line in strays(environ, (row.variable for row in OPTIONS)):
        complain(line)


def _parameter(row: "Option") -> Callable[[F], F]:
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
