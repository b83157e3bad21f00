"""The primary's own log lines: on stderr, in the background in a file of the cluster's folder.

The primary must not block, and stderr may be a pipe whose reader has stopped
or a terminal on hold: a line that does not fit now is dropped. A closed
stderr is no reason to stop serving either.

With ``--log-format json`` each line is an object: ``time``, ``source`` and ``message``.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.logs.cleaning import harmless_json, printable, printable_lines
from launcher.logs.files import Limits, LogFile
from launcher.logs.folder import PRIMARY, make_folder, require_files
from launcher.logs.times import ERR
from launcher.state.cluster_folder import ClusterFolder

_STDOUT, _STDERR = 1, 2

_PATIENCE = 0.05
"""Seconds to wait for the lock of the file. Only the primary writes to it, so the lock is free
unless the command ``flush`` is emptying the file."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where the log is kept in the background."""

    cluster: ClusterFolder
    folder: int
    file: LogFile
    stderr: int
    """The stderr of before: the command that started the cluster may be reading from it."""


_kept: _Kept | None = None
_as_json = False


def log(text: str) -> None:
    """Write one line with the time and ``[primary]``, or drop it."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    line = _object(text) if _as_json else f"{stamp} [primary] {printable(text)}\n".encode()
    if _kept:
        _kept.file.append(line, stream=ERR)
    else:
        _write(_STDERR, line)


def write(text: str) -> None:
    """Write lines that were not made here, such as the app's traceback, or drop them."""
    if not text:
        return
    lines = printable_lines(text if text.endswith("\n") else f"{text}\n").encode()
    logged = _object(text.rstrip("\n")) if _as_json else lines
    if _kept:
        _kept.file.append(logged, stream=ERR)
        _write(_kept.stderr, lines)  # for people
    else:
        _write(_STDERR, logged)


def reopen() -> None:
    """Leave the file that logrotate has renamed, and write to the one that has the name.

    Makes the folder anew if it was removed.
    """
    if _kept:
        with contextlib.suppress(LauncherError):  # go on in the file that was renamed
            place = make_folder(_kept.cluster.dirfd, _kept.cluster.path)
            try:
                _kept.file.move_to(place)
            finally:
                os.close(place)
        _kept.file.look_after()


def is_lost() -> bool:
    """Whether the folder of the log files was removed."""
    return _kept is not None and os.fstat(_kept.folder).st_nlink == 0


def folder() -> int | None:
    """The descriptor of the log folder, made anew if it was removed; None in the foreground."""
    reopen()
    return _kept.folder if _kept else None


@contextlib.contextmanager
def in_its_place(settings: Settings, cluster: ClusterFolder) -> Iterator[None]:
    """Log as the settings say, until the end of this process' cluster.

    In the background that is to the cluster's folder.
    """
    global _as_json
    _as_json = settings.log_format == "json"
    try:
        if settings.log_to_files:
            with _kept_in(cluster, Limits(settings.log_max_size, settings.log_keep)):
                yield
        else:
            yield
    finally:
        _as_json = False


@contextlib.contextmanager
def _kept_in(cluster: ClusterFolder, limits: Limits) -> Iterator[None]:
    global _kept
    place = make_folder(cluster.dirfd, cluster.path)
    require_files(place, cluster.path)
    before = [(number, os.dup(number)) for number in (_STDOUT, _STDERR)]
    file = LogFile(place, PRIMARY, limits, stand_ins=(_STDOUT, _STDERR), patience=_PATIENCE)
    _kept = _Kept(cluster, place, file, before[1][1])
    try:
        yield
    finally:
        _kept = None
        for number, kept in before:
            os.dup2(kept, number)
            os.close(kept)
        file.close()
        os.close(place)


def _object(text: str) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    values = {"time": now, "source": PRIMARY, "message": text}
    return f"{harmless_json(values, separators=(',', ':'))}\n".encode()


def _write(fd: int, data: bytes) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    with contextlib.suppress(OSError):
        if poll.poll(0):
            os.write(fd, data)
