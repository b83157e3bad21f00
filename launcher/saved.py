"""The saved set: which clusters ``resurrect`` starts, in one file of the state folder.

Settings only, no environment values. The file before is kept, for when the
newest one turns out to be damaged; a damaged one never takes its place.
"""

import fcntl
import json
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import LauncherError
from launcher.home import Home, load_object, read_text, replace_file
from launcher.settings import Settings

__all__ = ["read", "write"]

# The dot: no cluster, and so no cluster's folder, can have such a name.
FILE = ".saved.json"
PREVIOUS = ".saved-before.json"
MAX_SIZE = 16 << 20
VERSION = 1


def write(home: Home, clusters: Sequence[Settings]) -> None:
    """Save this set in place of the one before. All of it or nothing."""
    try:
        fcntl.flock(home.dirfd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LauncherError("another save is under way: nothing saved") from None
    try:
        text = read_text(home.dirfd, FILE, MAX_SIZE)
        if text and _parse(text) is not None:
            replace_file(home.dirfd, home.path, PREVIOUS, text)
        saved = {"version": VERSION, "clusters": [settings.to_json() for settings in clusters]}
        replace_file(home.dirfd, home.path, FILE, json.dumps(saved, indent=1) + "\n")
    finally:
        fcntl.flock(home.dirfd, fcntl.LOCK_UN)


def read(home: Home) -> tuple[list[Settings], list[str]]:
    """The saved set, and what there is to say: a file is damaged, or an option is not known here.

    LauncherError if nothing was saved, or nothing of it can be read.
    """
    damaged = ""
    for name in (FILE, PREVIOUS):
        text = read_text(home.dirfd, name, MAX_SIZE)
        clusters = None if text is None else _parse(text)
        if clusters is not None:
            said = [f"{damaged}: took the set saved before it"] if damaged else []
            said += [_unknown(each) for each in clusters if Settings.unknown_in(each)]
            return [Settings.from_json(each) for each in clusters], said
        if home.has(name):
            damaged = damaged or f"{home.path}/{name} is damaged"
    raise LauncherError(damaged or "nothing was saved: python -m launcher save")


def _parse(text: str) -> list[dict[str, Any]] | None:
    """The set in a file; None for what is damaged."""
    try:
        match load_object(text):
            case {"version": version, "clusters": [*clusters]} if version == VERSION:
                for each in clusters:
                    Settings.from_json(each)
                return clusters
    except (LauncherError, AttributeError):  # the latter: one of them is no object
        pass
    return None


def _unknown(cluster: Mapping[str, Any]) -> str:
    odd = ", ".join(map(repr, Settings.unknown_in(cluster)))
    return f"{cluster['name']}: this version does not know {odd}: left out"
