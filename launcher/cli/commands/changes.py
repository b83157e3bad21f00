"""The commands that change a running cluster: ``reload``, ``restart``, ``scale``…"""

import re
import signal as signals
from collections.abc import Sequence

import click

from launcher.cli.asking.changing import load, restart_worker, scale_to
from launcher.cli.asking.selection import for_each
from launcher.cli.options import cluster_names, names_or_all, version
from launcher.control.client import ANSWER_WITHIN, call
from launcher.errors import UsageError
from launcher.state.home import Home

__all__ = ["reload", "reset", "restart", "scale", "signal"]

_UPDATE_ENV = "Take the variables of this shell instead of those that it was started with."


@click.command(epilog="Example: python -m launcher reload web")
@names_or_all
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


@click.command(epilog="Example, of one worker: python -m launcher restart web/0")
@click.argument(
    "names", metavar="NAME[/SLOT]...|all", nargs=-1, required=True, shell_complete=cluster_names
)
@click.option("--update-env", is_flag=True, help=_UPDATE_ENV)
@version
def restart(names: tuple[str, ...], update_env: bool) -> int:
    """End the workers and start new ones, whatever comes of it.

    Running requests are finished, new connections wait. To replace the workers
    without a pause, and only if the new ones work: reload. Variables as there.

    NAME/SLOT: only the worker in that slot, with the code that is loaded, and
    its replacement first; if that does not become ready, the old one stays.
    """
    slots = _slots(names)
    if update_env and any(slots.values()):
        raise UsageError("--update-env is for whole clusters: one worker has the variables of all")

    def act(home: Home, name: str) -> str:
        if not slots.get(name):  # also where all are meant
            return load(home, name, "restart", "restarted", update_env)
        return "\n".join(restart_worker(home, name, slot) for slot in slots[name])

    return for_each([*slots], act)


@click.command(
    # So that -1 is a number and not an option.
    context_settings={"ignore_unknown_options": True},
    epilog="Example: python -m launcher scale web +2",
)
@names_or_all
@click.argument("to", metavar="N|+N|-N|auto")
@version
def scale(names: tuple[str, ...], to: str) -> int:
    """Have N workers, N more, N fewer, or one per CPU (auto).

    Returns when they are ready. No request is lost.
    """
    return for_each(names, lambda home, name: scale_to(home, name, to))


@click.command(epilog="Example: python -m launcher signal web USR2")
@names_or_all
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
@names_or_all
@version
def reset(names: tuple[str, ...]) -> int:
    """Count restarts and requests from zero again."""

    def act(home: Home, name: str) -> str:
        call(home, name, "reset", timeout=ANSWER_WITHIN)
        return f"reset the counters of {name}"

    return for_each(names, act)


def _slots(names: Sequence[str]) -> dict[str, list[int]]:
    """By cluster, the slots that are meant; none: the whole of it."""
    slots: dict[str, list[int]] = {}
    for each in names:
        name, slash, slot = each.partition("/")
        if slash and not re.fullmatch(r"[0-9]{1,3}", slot):
            raise UsageError(f"{each!r} is no NAME/SLOT: a slot is a number, as in web/0")
        if slash and name == "all":
            raise UsageError(f"{each!r}: name the cluster, as in web/{slot}")
        there = slots.setdefault(name, [])
        if slash and int(slot) not in there:
            there.append(int(slot))
    whole = {each for each in names if "/" not in each}
    return {name: [] if name in whole else there for name, there in slots.items()}


def _signal_number(text: str) -> signals.Signals:
    word = text.upper()
    try:
        if text.isdecimal():
            return signals.Signals(int(text))
        return signals.Signals[word if word.startswith("SIG") else f"SIG{word}"]
    except (KeyError, ValueError):
        raise UsageError(f"{text!r} is no signal: write USR2, SIGUSR2 or 12") from None
