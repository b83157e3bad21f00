"""The commands that change a running cluster: ``reload``, ``restart``, ``scale``…"""

import os
import signal as signals
from collections.abc import Callable
from typing import Any, TypeVar

import click

from launcher.cli.asking.selection import for_each
from launcher.cli.completion import cluster_names
from launcher.cli.root import version
from launcher.control.client import ANSWER_WITHIN, call, call_slowly
from launcher.errors import LauncherError, UsageError
from launcher.state.home import Home

__all__ = ["load", "reload", "reset", "restart", "scale", "scale_to", "signal"]

F = TypeVar("F", bound=Callable[..., Any])

_UPDATE_ENV = "Take the variables of this shell instead of those that it was started with."


def _names(function: F) -> F:
    return click.argument(
        "names", metavar="NAME...|all", nargs=-1, required=True, shell_complete=cluster_names
    )(function)


@click.command(epilog="Example: python -m launcher reload web")
@_names
@click.option("--update-env", is_flag=True, help=_UPDATE_ENV)
@version
def reload(names: tuple[str, ...], update_env: bool) -> int:
    """Load the app anew; swap the workers once all new ones are ready.

    No request is lost. If the new code cannot be loaded or does not become
    ready, the old workers go on, and the reason is told.

    env (in cluster.toml) and --env-file are read again; all else stays as it
    was at the start: other variables unless --update-env is given, and
    options, which start brings up to date from a changed cluster.toml.
    """
    return for_each(names, lambda home, name: load(home, name, "reload", "reloaded", update_env))


@click.command(epilog="Example: python -m launcher restart web")
@_names
@click.option("--update-env", is_flag=True, help=_UPDATE_ENV)
@version
def restart(names: tuple[str, ...], update_env: bool) -> int:
    """End the workers and start new ones, whatever comes of it.

    Running requests are finished, new connections wait. To replace the workers
    without a pause, and only if the new ones work: reload. Variables as there.
    """
    return for_each(names, lambda home, name: load(home, name, "restart", "restarted", update_env))


@click.command(
    # So that -1 is a number and not an option.
    context_settings={"ignore_unknown_options": True},
    epilog="Example: python -m launcher scale web +2",
)
@_names
@click.argument("to", metavar="N|+N|-N|auto")
@version
def scale(names: tuple[str, ...], to: str) -> int:
    """Have N workers, N more, N fewer, or one per CPU (auto).

    Returns when they are ready. No request is lost.
    """
    return for_each(names, lambda home, name: scale_to(home, name, to))


@click.command(epilog="Example: python -m launcher signal web USR2")
@_names
@click.argument("sent", metavar="SIGNAL")
@version
def signal(names: tuple[str, ...], sent: str) -> int:
    """Send a signal to every worker, once: USR2, SIGUSR2 or 12.

    It is for the app to handle; most do nothing otherwise. A worker that KILL or
    TERM ends is replaced.
    """
    number = _signal_number(sent)

    def act(home: Home, name: str) -> str:
        result = call(home, name, "signal", {"number": number.value}, timeout=ANSWER_WITHIN)
        workers = result.get("workers", "?") if isinstance(result, dict) else "?"
        return f"sent {number.name} to {name}: {workers} worker{'s' * (workers != 1)}"

    return for_each(names, act)


@click.command(epilog="Example: python -m launcher reset web")
@_names
@version
def reset(names: tuple[str, ...]) -> int:
    """Count restarts and requests from zero again."""

    def act(home: Home, name: str) -> str:
        call(home, name, "reset", timeout=ANSWER_WITHIN)
        return f"reset the counters of {name}"

    return for_each(names, act)


def scale_to(home: Home, name: str, to: str) -> str:
    """Have another number of workers and wait until they are ready; what to tell."""
    result = call_slowly(home, name, "scale", {"to": to}, timeout=_deadline(home, name))
    return f"scaled {name}{_what_is_now(result)}"


def load(home: Home, name: str, verb: str, done: str, update_env: bool) -> str:
    """Have the app loaded anew and wait until that is carried out; what to tell."""
    args: dict[str, Any] = {}
    if update_env:
        args["environment"] = dict(os.environ)
    mark = _mark(home, name)
    if mark:
        args["mark"] = mark
    result = call_slowly(home, name, verb, args, timeout=_deadline(home, name))
    return f"{done} {name}{_what_is_now(result)}"


def _mark(home: Home, name: str) -> str:
    """For the next start, which compares: what the configuration's variables are now."""
    from launcher.config.cluster_toml import new_mark
    from launcher.config.settings import Settings

    entry = home.entry(name)
    try:
        return new_mark(Settings.from_json(entry.settings)) if entry and entry.settings else ""
    except LauncherError:
        return ""  # the pool finds out what is wrong, and says so


def _deadline(home: Home, name: str) -> float:
    """Seconds that a change may take."""
    from launcher.cli.starting.spawn import time_to_start
    from launcher.config.settings import Settings

    entry = home.entry(name)
    try:
        return time_to_start(Settings.from_json((entry and entry.settings) or {}))
    except LauncherError:  # of another version
        return time_to_start(Settings())


def _what_is_now(result: Any) -> str:
    match result:
        case {"generation": int(generation), "workers": int(workers)}:
            return f": generation {generation}, {workers} worker{'s' * (workers != 1)}"
    return ""


def _signal_number(text: str) -> signals.Signals:
    word = text.upper()
    try:
        if text.isdecimal():
            return signals.Signals(int(text))
        return signals.Signals[word if word.startswith("SIG") else f"SIG{word}"]
    except (KeyError, ValueError):
        raise UsageError(f"{text!r} is no signal: write USR2, SIGUSR2 or 12") from None
