"""Which files of an app change after it was loaded, for ``--watch``."""

from __future__ import annotations

import os
from collections.abc import Iterator

INTERVAL = 1.0
"""Seconds between two looks."""

_SUFFIXES = (".py", ".html", ".jinja", ".jinja2", ".j2")
"""Code and templates. What else lies there may be the app's data, which it writes itself."""

_Stamp = tuple[int, int]


class SourceWatch:
    """The code and templates below a folder, without hidden folders and environments."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._stamps = dict(_stamps(folder))

    def changed(self) -> str | None:
        """A file that is new, gone or another than when this was last asked; None: none is."""
        before, self._stamps = self._stamps, dict(_stamps(self._folder))
        different = before.items() ^ self._stamps.items()
        return min((path for path, _ in different), default=None)


def _stamps(folder: str) -> Iterator[tuple[str, _Stamp]]:
    """Path below ``folder``, and what tells one version of the file from another."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _may_hold_sources(place, name)]
        for name in files:
            if name.endswith(_SUFFIXES):
                path = os.path.join(place, name)
                try:
                    stat = os.stat(path)
                except OSError:
                    continue  # gone meanwhile, or a link to nowhere
                yield os.path.relpath(path, folder), (stat.st_mtime_ns, stat.st_size)


def _may_hold_sources(place: str, name: str) -> bool:
    if name.startswith(".") or name in ("__pycache__", "node_modules"):
        return False
    return not os.path.exists(os.path.join(place, name, "pyvenv.cfg"))
