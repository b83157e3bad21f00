"""Which clusters a command means, what it does to each, and how that is told."""

from collections.abc import Callable, Sequence
from contextlib import closing

import click

from launcher.cli.asking.parallel import in_parallel
from launcher.cli.text import complain
from launcher.control.client import NotRunning, Refused, no_such_cluster
from launcher.errors import LauncherError, NothingToDo, UsageError
from launcher.logs.cleaning import printable_lines
from launcher.state.home import Home, require_name

__all__ = ["Act", "choose", "for_each", "report"]

Act = Callable[[Home, str], str]
"""Does something to one cluster. Gives what to tell, or raises LauncherError."""


def for_each(names: Sequence[str], act: Act, *, stopped_too: bool = False) -> int:
    """Do it to each of the clusters meant, at once; the exit status. One failing stops no other.

    All names are looked up before anything is done. ``all`` means every running cluster,
    with ``stopped_too`` every one there is.
    """
    home = Home.open_existing()
    if home is None:
        raise unknown(choose(names, None, stopped_too=stopped_too), [])
    with closing(home):
        chosen = choose(names, home, stopped_too=stopped_too)
        known = home.names()
        if not known or not {*chosen} <= {*known}:
            raise unknown(chosen, known)
        return report(chosen, in_parallel(lambda name: _outcome(home, name, act), chosen))


def report(names: Sequence[str], outcomes: Sequence[str | LauncherError]) -> int:
    """Print every outcome; the exit status is the worst."""
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, NothingToDo):
            click.echo(printable_lines(outcome.line))
        elif isinstance(outcome, LauncherError):
            _tell_error(name if len(names) > 1 else "", outcome)
        else:
            click.echo(printable_lines(outcome))
    errors = [outcome for outcome in outcomes if isinstance(outcome, LauncherError)]
    return max((error.exit_status for error in errors), default=0)


def unknown(names: Sequence[str], known: list[str]) -> LauncherError:
    """The error for the first of several names that no cluster has."""
    error = no_such_cluster(next(name for name in names if name not in known), known)
    return LauncherError(f"{error}: nothing was done") if len(names) > 1 else error


def _tell_error(name: str, error: LauncherError) -> None:
    """In a refusal nothing says yet which of several clusters it was."""
    if not isinstance(error, Refused):
        complain(str(error))
        return
    complain(f"{name}: {error}" if name else str(error), error.detail)


def _outcome(home: Home, name: str, act: Act) -> str | LauncherError:
    try:
        return act(home, name)
    except NotRunning as error:
        return LauncherError(f"{error}: start it: python -m launcher start {name}")
    except LauncherError as error:
        return error


def choose(names: Sequence[str], home: Home | None, *, stopped_too: bool) -> list[str]:
    """The clusters meant, each once; UsageError for what cannot be a name."""
    if "all" not in names:
        return list(dict.fromkeys(map(require_name, names)))
    if len(names) > 1:
        raise UsageError("'all' stands alone: it means every cluster")
    known = home.names() if home else []
    chosen = [name for name in known if stopped_too or _may_run(home, name)]
    if not chosen:
        what = "there is no cluster" if stopped_too else "no cluster is running"
        raise NothingToDo(what)
    return chosen


def _may_run(home: Home | None, name: str) -> bool:
    """Whether ``all`` means this one too: also if its folder is unsafe, to have that told."""
    try:
        entry = home.entry(name) if home else None
    except LauncherError:
        return True
    return entry is not None and entry.running
