"""Starts several clusters at once, and says what has come of each."""

import os
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from types import MappingProxyType

from launcher.cli.asking.parallel import in_parallel
from launcher.cli.asking.selection import report
from launcher.cli.starting.converge import converge
from launcher.cli.starting.overlooked import tell_overlooked
from launcher.cli.starting.spawn import starting
from launcher.cli.text import complain
from launcher.config.inherited import listed, missing
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.home import Home

__all__ = ["start_all"]


def start_all(
    home: Home,
    everything: Sequence[Settings],
    running: Set[str] = frozenset(),
    variables: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> int:
    """Start clusters, and bring those that are ``running`` to their settings; the exit status.

    ``variables``: by cluster, the names of those that it had when it was saved.
    """
    there = [settings for settings in everything if settings.name in running]
    for settings in everything:
        if settings.name not in running:
            before = {*home.variables(settings.name), *variables.get(settings.name, ())}
            _tell_missing(settings, before)
            tell_overlooked(settings)
    outcomes: dict[str, str | LauncherError] = {}
    with starting([each for each in everything if each.name not in running]) as starts:
        for settings, outcome in zip(
            there, in_parallel(partial(_attempt, converge, home), there), strict=True
        ):
            outcomes[settings.name] = outcome
        outcomes |= starts.wait()
    names = [settings.name for settings in everything]
    return report(names, [outcomes[name] for name in names])


def _attempt(
    act: Callable[[Home, Settings], str], home: Home, settings: Settings
) -> str | LauncherError:
    try:
        return act(home, settings)
    except LauncherError as error:
        return error


def _tell_missing(settings: Settings, names: Set[str]) -> None:
    """Name what the app had from its shell and will not have from this one: it may need it."""
    if gone := missing(names, settings, os.environ):
        complain(
            f"{settings.name}: started without variables that it had before: {listed(gone)}:"
            " set them here, or name a file that has them: --env-file FILE"
        )
