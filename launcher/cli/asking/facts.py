"""The object of a cluster in ``list --json``, also of one that cannot say it itself."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from launcher.control.client import NotRunning, call
from launcher.errors import LauncherError
from launcher.state.home import Entry, Home

__all__ = [
    "ANSWER_WITHIN",
    "Facts",
    "activity_of",
    "exits_as_json",
    "facts_of",
    "status_of",
    "stopped",
]

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
    "waiting": int,
    "active": int,
    "streaming": int,
    "requests": int,
    "p50": (*NUMBER, type(None)),
    "p99": (*NUMBER, type(None)),
    "last_exits": list,
    "restarts": dict,
    "error": (str, type(None)),
    "workers": list,
}
RESTARTS: Mapping[str, Any] = dict.fromkeys(
    ("crash", "timeout", "memory", "recycle", "reload", "restart"), int
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
    "streaming": int,
    "threads": int,
    "threads_max": int,
    "connections": int,
    "rss": int,
    "cpu": NUMBER,
}
LATER: Mapping[str, Any] = {
    "waiting": 0,
    "streaming": 0,
    "p50": None,
    "p99": None,
    "last_exits": [],
}
LATER_OF_RESTARTS: Mapping[str, Any] = {"restart": 0}
LATER_OF_WORKERS: Mapping[str, Any] = {"streaming": 0, "threads": 0, "threads_max": 0}
"""What primaries of earlier versions do not tell, and what is taken for it."""

LAST_EXIT: Mapping[str, Any] = {
    "slot": int,
    "id": int,
    "pid": (int, type(None)),
    "generation": int,
    "code": (int, type(None)),
    "signal": (str, type(None)),
    "reason": str,
    "when": NUMBER,
}
DESCRIPTION: Mapping[str, Any] = {
    "status": dict,
    "settings": dict,
    "requests_per_second": NUMBER,
    "worker_rates": dict,
    "last_exits": list,
}

LATELY: Mapping[str, Any] = {
    "requests_per_second": NUMBER,
    "p50": (*NUMBER, type(None)),
    "p99": (*NUMBER, type(None)),
}
ACTIVITY: Mapping[str, Any] = {**LATELY, "status": dict, "workers": list, "active": list}
ACTIVE: Mapping[str, Any] = {"id": int, "slot": int, "age": NUMBER, "request": str}


class Facts(NamedTuple):
    """What there is to know about a cluster."""

    status: dict[str, Any]
    """The object of ``list --json``."""
    settings: Mapping[str, Any]
    """As in ``app.json``, unchecked; empty when they cannot be read."""
    requests_per_second: float = 0.0
    worker_rates: Mapping[str, float] = {}
    """Requests per second, by the worker's id as a text."""
    last_exits: Sequence[Mapping[str, Any]] = ()
    answered: bool = False
    """Whether the cluster has told this itself."""
    activity: Mapping[str, Any] | None = None
    """What is running, and how long requests take: primary/insight/activity.py."""

    @property
    def silence(self) -> str:
        """Why its primary could not be asked; empty when it has answered, or does not run."""
        told = self.answered or self.status["status"] == "stopped"
        return "" if told else self.status["error"] or ""

    @property
    def ready(self) -> str:
        """How many of its workers are; ``?`` when it has not said."""
        online = sum(worker["status"] == "online" for worker in self.status["workers"])
        return "?" if self.silence else str(online)


def status_of(home: Home, name: str) -> dict[str, Any] | None:
    """The cluster's own words, or what its folder tells; None if it was just forgotten.

    Never raises for one cluster, because the others are to be shown too.
    """
    facts = _facts(home, name, "status")
    return facts and facts.status


def facts_of(home: Home, name: str) -> Facts | None:
    """As `status_of`, with all the rest."""
    return _facts(home, name, "describe")


def activity_of(home: Home, name: str) -> Facts | None:
    """As `status_of`, with what is running."""
    return _facts(home, name, "activity")


def _facts(home: Home, name: str, verb: str) -> Facts | None:
    try:
        entry = home.entry(name)
    except LauncherError as error:  # a folder that is not safe to look into
        problem = {"status": "errored", "error": str(error)}
        return Facts(stopped(Entry(name, None, None)) | problem, {})
    if entry is None:
        return None
    return _of_folder(entry) if entry.process is None else _ask(home, entry, verb)


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
        "waiting": 0,
        "active": 0,
        "streaming": 0,
        "requests": 0,
        "p50": None,
        "p99": None,
        "last_exits": [],
        "restarts": dict.fromkeys(RESTARTS, 0),
        "error": f"its primary (pid {entry.dead.pid}) died" if entry.dead else None,
        "workers": [],
    }


def _of_folder(entry: Entry, **changes: Any) -> Facts:
    return Facts(stopped(entry) | changes, entry.settings or {})


def _ask(home: Home, entry: Entry, verb: str) -> Facts:
    pid = entry.process.pid if entry.process else None
    try:
        answer = call(home, entry.name, verb, timeout=ANSWER_WITHIN)
    except NotRunning:
        return _of_folder(entry)
    except LauncherError as error:
        return _of_folder(entry, status="errored", pid=pid, error=str(error))
    status = _understood(answer if verb == "status" else _part(answer, "status"))
    if status:
        kept = entry.settings or {}
        if verb == "status":
            return Facts(status, kept, answered=True)
        if verb == "describe" and _is_description(answer):
            told = {key: answer[key] for key in DESCRIPTION} | {"status": status}
            return Facts(**told, answered=True)
        if verb == "activity" and _is_activity(answer):
            rate = answer["requests_per_second"]
            return Facts(status, kept, rate, answered=True, activity=answer)
    problem = "its primary is of another version of the launcher"
    return _of_folder(entry, status="errored", pid=pid, error=problem)


def _kept(settings: Mapping[str, Any], key: str, default: T) -> T:
    """A value of a file that an older version or a hand may have written."""
    value = settings.get(key)
    # `type(...) is`, not isinstance: true is no number.
    return value if type(value) is type(default) else default


def _part(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _understood(told: Any) -> dict[str, Any] | None:
    """A primary's status with every key that this version shows; None where it is none.

    A primary may be of an earlier version, which runs on while the launcher is replaced.
    """
    workers = _part(told, "workers")
    if not isinstance(workers, list):
        return None
    workers = [_completed(worker, LATER_OF_WORKERS, WORKER) for worker in workers]
    active = sum(_kept(worker, "active", 0) for worker in workers if isinstance(worker, dict))
    restarts = _completed(_part(told, "restarts"), LATER_OF_RESTARTS, RESTARTS)
    changes = {"workers": workers, "restarts": restarts}
    status = _completed({**told, **changes}, {**LATER, "active": active}, CLUSTER)
    return status if _is_status(status) else None


def _completed(told: Any, defaults: Mapping[str, Any], order: Iterable[str]) -> Any:
    """An object with these defaults for what it lacks, and its keys in this order."""
    if not isinstance(told, dict):
        return told
    whole = {**defaults, **told}
    return {key: whole[key] for key in (*order, *whole) if key in whole}


def _is_description(value: Any) -> bool:
    return (
        _has_shape(value, DESCRIPTION)
        and _are_exits(value["last_exits"])
        and all(isinstance(rate, NUMBER) for rate in value["worker_rates"].values())
    )


def _is_activity(value: Any) -> bool:
    return (
        _has_shape(value, ACTIVITY)
        and all(_has_shape(each, {**LATELY, "id": int}) for each in value["workers"])
        and all(_has_shape(each, ACTIVE) for each in value["active"])
    )


def _is_status(value: Any) -> bool:
    return (
        _has_shape(value, CLUSTER)
        and _has_shape(value["restarts"], RESTARTS)
        and _are_exits(value["last_exits"])
        and all(_has_shape(worker, WORKER) for worker in value["workers"])
    )


def _are_exits(value: list[Any]) -> bool:
    return all(_has_shape(each, LAST_EXIT) for each in value)


def exits_as_json(exits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last exits for people's programs: with the time in ISO 8601, local."""
    return [{**each, "when": _iso(each["when"])} for each in exits]


def _iso(when: float) -> str:
    return datetime.datetime.fromtimestamp(when).astimezone().isoformat(timespec="seconds")


def _has_shape(value: Any, shape: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        key in value and isinstance(value[key], kind) for key, kind in shape.items()
    )
