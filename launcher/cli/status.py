"""The object of a cluster in ``list --json``, also of one that cannot say it itself."""

from collections.abc import Mapping
from typing import Any, TypeVar

from launcher.control.client import NotRunning, call
from launcher.errors import LauncherError
from launcher.home import Entry, Home

__all__ = ["ANSWER_WITHIN", "status_of"]

T = TypeVar("T")

ANSWER_WITHIN = 2.0
"""Seconds a primary gets to tell its status: its loop never blocks, so this is long."""

NUMBER = (int, float)
CLUSTER: Mapping[str, Any] = {
    "name": str,
    "status": str,
    "pid": int,
    "app": str,
    "bind": list,
    "policy": str,
    "generation": int,
    "uptime": NUMBER,
    "workers_wanted": int,
    "sizing": str,
    "connections": int,
    "requests": int,
    "restarts": dict,
    "error": (str, type(None)),
    "workers": list,
}
RESTARTS: Mapping[str, Any] = dict.fromkeys(
    ("crash", "timeout", "memory", "recycle", "reload"), int
)
WORKER: Mapping[str, Any] = {
    "id": int,
    "slot": int,
    "pid": (int, type(None)),  # none yet while in backoff
    "generation": int,
    "status": str,
    "uptime": NUMBER,
    "requests": int,
    "active": int,
    "connections": int,
    "rss": int,
    "cpu": NUMBER,
}


def status_of(home: Home, name: str) -> dict[str, Any] | None:
    """The cluster's own words, or what its folder tells; None if it was just forgotten.

    Never raises for one cluster, because the others are to be shown too.
    """
    try:
        entry = home.entry(name)
    except LauncherError as error:  # a folder that is not safe to look into
        return stopped(Entry(name, None, None)) | {"status": "errored", "error": str(error)}
    if entry is None:
        return None
    return stopped(entry) if entry.process is None else _ask(home, entry, entry.process.pid)


def stopped(entry: Entry) -> dict[str, Any]:
    """A cluster that does not run, as its folder knows it."""
    kept = entry.settings or {}
    return {
        "name": entry.name,
        "status": "stopped",
        "pid": None,
        "app": _kept(kept, "app", ""),
        "bind": _kept(kept, "bind", []),
        "policy": _kept(kept, "policy", ""),
        "generation": 0,
        "uptime": 0.0,
        "workers_wanted": _kept(kept, "wanted", 0),
        "sizing": _kept(kept, "sizing", ""),
        "connections": 0,
        "requests": 0,
        "restarts": dict.fromkeys(RESTARTS, 0),
        "error": None,
        "workers": [],
    }


def _ask(home: Home, entry: Entry, pid: int) -> dict[str, Any]:
    try:
        answer = call(home, entry.name, "status", timeout=ANSWER_WITHIN)
    except NotRunning:
        return stopped(entry)
    except LauncherError as error:
        return stopped(entry) | {"status": "errored", "pid": pid, "error": str(error)}
    if not _is_status(answer):
        problem = "its primary is of another version of the launcher"
        return stopped(entry) | {"status": "errored", "pid": pid, "error": problem}
    status: dict[str, Any] = answer
    return status


def _kept(settings: Mapping[str, Any], key: str, default: T) -> T:
    """A value of a file that an older version or a hand may have written."""
    value = settings.get(key)
    return value if isinstance(value, type(default)) else default


def _is_status(value: Any) -> bool:
    return (
        _has_shape(value, CLUSTER)
        and _has_shape(value["restarts"], RESTARTS)
        and all(_has_shape(worker, WORKER) for worker in value["workers"])
    )


def _has_shape(value: Any, shape: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        key in value and isinstance(value[key], kind) for key, kind in shape.items()
    )
