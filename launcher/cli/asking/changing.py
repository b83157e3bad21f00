"""Has a cluster that runs changed, and waits until that is carried out."""

import os
from typing import Any

from launcher.cli.asking.deadlines import time_to_change
from launcher.config.marks import new_mark
from launcher.config.settings import Settings
from launcher.control.client import Refused, call_slowly
from launcher.errors import LauncherError, NothingToDo
from launcher.state.home import Home

__all__ = ["load", "restart_worker", "scale_to"]


def scale_to(home: Home, name: str, to: str) -> str:
    """Have another number of workers and wait until they are ready; what to tell.

    NothingToDo where there are as many, which a primary answers as a refusal.
    """
    try:
        result = call_slowly(home, name, "scale", {"to": to}, timeout=time_to_change(home, name))
    except Refused as error:
        refusal, _, what = str(error).partition(": ")
        if refusal == "nothing to do":
            raise NothingToDo(what) from None
        raise
    return f"scaled {name}{_what_is_now(result)}"


def restart_worker(home: Home, name: str, slot: int) -> str:
    """Have the worker in a slot replaced and wait until the new one serves; what to tell."""
    result = call_slowly(
        home, name, "restart_worker", {"slot": slot}, timeout=time_to_change(home, name)
    )
    return f"restarted {name}/{slot}: worker {result['old']} → {result['new']}"


def load(home: Home, name: str, verb: str, done: str, update_env: bool) -> str:
    """Have the app loaded anew and wait until that is carried out; what to tell."""
    args: dict[str, Any] = {}
    if update_env:
        args["environment"] = dict(os.environ)
    mark = _mark(home, name)
    if mark:
        args["mark"] = mark
    result = call_slowly(home, name, verb, args, timeout=time_to_change(home, name))
    return f"{done} {name}{_what_is_now(result)}"


def _mark(home: Home, name: str) -> str:
    """For the next start, which compares: what the configuration's variables are now."""
    entry = home.entry(name)
    try:
        return new_mark(Settings.from_json(entry.settings)) if entry and entry.settings else ""
    except LauncherError:
        return ""  # the pool finds out what is wrong, and says so


def _what_is_now(result: Any) -> str:
    match result:
        case {"generation": int(generation), "workers": int(workers)}:
            return f": generation {generation}, {workers} worker{'s' * (workers != 1)}"
    return ""
