"""The saved set: which clusters ``resurrect`` starts, in one file of the state folder.

Settings only, no environment values. The file before is kept, for when the
newest one turns out to be damaged; a damaged one never takes its place.
"""

import fcntl
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.files import load_object, read_text, replace_file
from launcher.state.home import Home

__all__ = ["Saved", "read", "write"]

# The dot: no cluster, and so no cluster's folder, can have such a name.
FILE = ".saved.json"
PREVIOUS = ".saved-before.json"
MAX_SIZE = 16 << 20
VERSION = 1


class Saved(NamedTuple):
    """A set that was saved."""

    clusters: list[Settings]
    variables: Mapping[str, Sequence[str]]
    """By cluster, the names of those that it was started with."""
    problems: list[str]
    """What there is to say: the file is damaged, or an option is not known here."""


def write(home: Home, clusters: Sequence[Settings], variables: Mapping[str, Sequence[str]]) -> None:
    """Save this set in place of the one before. All of it or nothing."""
    try:
        fcntl.flock(home.dirfd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LauncherError("another save is under way: nothing saved") from None
    try:
        text = read_text(home.dirfd, FILE, MAX_SIZE)
        if text and _parse(text) is not None:
            replace_file(home.dirfd, home.path, PREVIOUS, text)
        saved = {
            "version": VERSION,
            "clusters": [settings.to_json() for settings in clusters],
            "variables": {name: list(names) for name, names in variables.items()},
        }
        replace_file(home.dirfd, home.path, FILE, json.dumps(saved, indent=1) + "\n")
    finally:
        fcntl.flock(home.dirfd, fcntl.LOCK_UN)


def read(home: Home) -> Saved:
    """The saved set; the one before if that is damaged.

    LauncherError if nothing was saved, or nothing of it can be read.
    """
    damaged = ""
    for name in (FILE, PREVIOUS):
        text = read_text(home.dirfd, name, MAX_SIZE)
        found = None if text is None else _parse(text)
        if found is not None:
            clusters, variables = found
            said = [f"{damaged}: took the set saved before it"] if damaged else []
            said += [_unknown(each) for each in clusters if Settings.unknown_in(each)]
            return Saved([Settings.from_json(each) for each in clusters], variables, said)
        if home.has(name):
            damaged = damaged or f"{home.path}/{name} is damaged"
    raise LauncherError(damaged or "nothing was saved: python -m launcher save")


def _parse(text: str) -> tuple[list[dict[str, Any]], Mapping[str, Sequence[str]]] | None:
    """The set in a file; None for what is damaged."""
    try:
        match load_object(text):
            case {"version": version, "clusters": [*clusters], **more} if version == VERSION:
                for each in clusters:
                    Settings.from_json(each)
                return clusters, _names(more.get("variables"))
    except (LauncherError, AttributeError):  # the latter: one of them is no object
        pass
    return None


def _names(found: object) -> dict[str, list[str]]:
    """By cluster; nothing where another version has saved none."""
    return {
        name: [each for each in names if isinstance(each, str)]
        for name, names in (found.items() if isinstance(found, dict) else ())
        if isinstance(names, list)
    }


def _unknown(cluster: Mapping[str, Any]) -> str:
    odd = ", ".join(map(repr, Settings.unknown_in(cluster)))
    return f"{cluster['name']}: this version does not know {odd}: left out"
