"""Which files of an app change after it was loaded, for ``--watch``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from launcher.config.readers import open_regular

INTERVAL = 1.0
"""Seconds between two looks."""

_SUFFIXES = (".py", ".html", ".jinja", ".jinja2", ".j2")
"""Code and templates. Other files may be data, which the app writes itself."""

_READ = 4 << 20
"""Bytes of a file that are compared. Code that people write is shorter."""


class _File(NamedTuple):
    """A version of a file: its stamp tells whether to look, its content whether it differs."""

    stamp: tuple[int, ...]
    content: object


class SourceWatch:
    """The code and templates below a folder, without hidden folders and environments.

    ``ignored``: globs of what does not count besides, see `matcher`.
    """

    def __init__(self, folder: str, ignored: Iterable[str] = ()) -> None:
        self._folder = folder
        self._ignores = matcher(ignored)
        self._files = dict(self._look({}))

    def changed(self) -> list[str]:
        """The files that are new, gone or have other content than at the last call."""
        before, self._files = self._files, dict(self._look(self._files))
        return sorted(
            path
            for path in before.keys() | self._files.keys()
            if _content(before, path) != _content(self._files, path)
        )

    def _look(self, known: Mapping[str, _File]) -> Iterator[tuple[str, _File]]:
        """Each path below the folder, with its file; read only if it may differ from ``known``."""
        for place, folders, files in os.walk(self._folder):
            below = os.path.relpath(place, self._folder)
            folders[:] = [
                name
                for name in folders
                if _may_hold_sources(place, name) and not self._ignores(_join(below, name))
            ]
            for name in files:
                path = _join(below, name)
                if name.endswith(_SUFFIXES) and not self._ignores(path):
                    file = _file(os.path.join(place, name), known.get(path))
                    if file:
                        yield path, file


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function: whether a path below the folder, or a folder in that path, has such a name.

    ``*`` and ``?`` stand for what is within one name, ``[...]`` for one of these
    characters, ``**/`` for any folders. A pattern with a slash in it is about the
    whole path, one without about a name anywhere: as in a .gitignore.
    """
    expressions = [_expression(pattern) for pattern in patterns]
    if not expressions:
        return lambda _path: False
    matches = re.compile("|".join(expressions)).fullmatch
    return lambda path: matches(path) is not None


_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _expression(pattern: str) -> str:
    pattern = pattern.rstrip("/")
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^]/!][^]/]*\])", pattern.removeprefix("./"))
    text = "".join(_WILD.get(part) or _literal_or_class(part) for part in parts)
    anywhere = "" if "/" in pattern else "(?:.*/)?"
    return f"{anywhere}{text}(?:/.*)?"


def _literal_or_class(part: str) -> str:
    if len(part) > 2 and part[0] == "[" and part[-1] == "]":
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]"
    return re.escape(part)


def _join(below: str, name: str) -> str:
    return name if below == "." else os.path.join(below, name)


def _file(path: str, known: _File | None) -> _File | None:
    """The file as it is now; None: it has gone meanwhile, or is a link to nowhere.

    The stamp is taken before the content is read: a file that is written in between
    is read again at the next look.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    if known and known.stamp == stamp:
        return known
    try:
        with open_regular(path) as file:
            return _File(stamp, (status.st_size, hash(file.read(_READ))))
    except OSError:
        return _File(stamp, (status.st_mtime_ns, status.st_size))


def _content(files: Mapping[str, _File], path: str) -> object:
    file = files.get(path)
    return file and file.content


def _may_hold_sources(place: str, name: str) -> bool:
    if name.startswith(".") or name in ("__pycache__", "node_modules"):
        return False
    return not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))
