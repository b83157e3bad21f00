"""The commands that end a cluster: ``stop``, ``delete``."""

from typing import Any

import click

from launcher.cli.asking.selection import for_each
from launcher.cli.options import names_or_all, version
from launcher.config.readers import MAX_SECONDS
from launcher.control.client import NotRunning, ask, no_such_cluster
from launcher.errors import LauncherError, NothingToDo
from launcher.state.home import Home

__all__ = ["delete", "stop"]

ACKNOWLEDGED_WITHIN = 5.0
"""Seconds a primary gets to say that it will stop; the stopping has its own deadline."""

MAX_DEADLINE = 2 * MAX_SECONDS
"""Longer than any graceful timeout with its margin: a bound on what a reply makes us wait."""


@click.command(epilog="Example: python -m launcher stop web")
@names_or_all
@version
def stop(names: tuple[str, ...]) -> int:
    """Stop clusters: take no more connections, finish the requests, end.

    Returns when they are gone. They stay in the list, to be started again by
    name. One that is stopped already is no error.
    """
    return for_each(names, _stop_one)


@click.command(epilog="Example: python -m launcher delete web")
@names_or_all
@version
def delete(names: tuple[str, ...]) -> int:
    """Stop clusters that run, and forget them with their logs.

    all: also those that are stopped.
    """
    return for_each(names, _delete_one, stopped_too=True)


def _stop_one(home: Home, name: str) -> str:
    """Stop one cluster and see it gone."""
    try:
        with ask(home, name, "stop", timeout=ACKNOWLEDGED_WITHIN) as conversation:
            deadline = _deadline(name, conversation.result)
            if not conversation.wait_for_exit(deadline):
                who = f"cluster {name!r} (pid {conversation.process.pid})"
                raise LauncherError(f"{who} has not ended within {deadline:g} s")
    except NotRunning as error:
        raise NothingToDo(str(error)) from None
    return f"stopped {name}"


def _delete_one(home: Home, name: str) -> str:
    entry = home.entry(name)
    if entry is None:
        raise no_such_cluster(name, home.names())
    if entry.running:
        _stop_one(home, name)
    home.forget(name)
    return f"deleted {name}"


def _deadline(name: str, result: Any) -> float:
    """The seconds a primary says its end takes at most: what it finishes, and a margin."""
    match result:
        case {"deadline": int(seconds) | float(seconds)} if 0 <= seconds <= MAX_DEADLINE:
            return float(seconds)
    raise LauncherError(f"cluster {name!r} is of another version: it gave no deadline")
