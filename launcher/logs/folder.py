"""The folder that a cluster's logs are in, and the names in it.

Whatever is opened here is opened relative to a descriptor of its folder, never
through a symlink, and only if it is a regular file.
"""

import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterable
from contextlib import suppress

from launcher.errors import LauncherError

__all__ = [
    "APPENDING",
    "FOLDER",
    "POOL",
    "PRIMARY",
    "file_name",
    "is_being_written",
    "make_folder",
    "next_name",
    "open_file",
    "open_folder",
    "remove_folder",
    "require_files",
    "segments",
    "successor",
    "times_name",
]

FOLDER = "logs"
POOL = "pool"
PRIMARY = "primary"
"""Sources besides the slots ``0``, ``1``…"""

_SEGMENT = re.compile(r"([0-9]{1,4}|pool|primary)\.log(?:\.([1-9][0-9]{0,4}))?")
_BESIDE = re.compile(r"\.([0-9]{1,4}|pool|primary)\.(times|next)")
APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT
"""How the file that is written is opened."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def file_name(source: str, number: int = 0) -> str:
    """The file that ``source`` writes, or the one it wrote ``number`` files ago."""
    return f"{source}.log.{number}" if number else f"{source}.log"


def times_name(source: str) -> str:
    """The file that says when what was written to the files of ``source``."""
    return f".{source}.times"


def next_name(source: str) -> str:
    """What the next file of ``source`` is called until it takes its place."""
    return f".{source}.next"


def make_folder(cluster: int, cluster_path: str) -> int:
    """Open the log folder in the folder ``cluster``; make it if need be.

    The path is for the message of the LauncherError when that cannot be.
    """
    path = os.path.join(cluster_path, FOLDER)
    try:
        os.mkdir(FOLDER, 0o700, dir_fd=cluster)
    except FileExistsError:
        pass
    except OSError as error:
        raise LauncherError(f"{path}: {error.strerror}") from None
    folder = open_folder(cluster, cluster_path)
    if folder is None:
        raise LauncherError(f"{path}: removed by another process")
    return folder


def open_folder(cluster: int, cluster_path: str) -> int | None:
    """Open the log folder in the folder ``cluster``; None if there is none.

    Raises LauncherError if it is a symlink, another user's, or open to others.
    """
    path = os.path.join(cluster_path, FOLDER)
    try:
        folder = os.open(FOLDER, _OPEN_FOLDER, dir_fd=cluster)
    except FileNotFoundError:
        return None
    except OSError as error:
        # ENOTDIR is what O_DIRECTORY with O_NOFOLLOW gives for a symlink.
        planted = error.errno in (errno.ELOOP, errno.ENOTDIR)
        why = "is a symlink, or no folder" if planted else error.strerror
        raise LauncherError(f"{path}: {why}: remove it") from None
    status = os.fstat(folder)
    # A worker that gives up being root takes the folder with it (`Output.give_to`).
    ours = status.st_uid == os.geteuid() or os.geteuid() == 0
    if ours and not status.st_mode & 0o022:
        return folder
    os.close(folder)
    why = "can be written by others" if ours else "belongs to another user"
    raise LauncherError(f"{path}: {why}: remove it")


def successor(folder: int) -> int | None:
    """Open what was made in the place of a log folder that was removed; None if neither was."""
    if os.fstat(folder).st_nlink:
        return None
    with suppress(OSError, LauncherError):
        cluster = os.open("..", _OPEN_FOLDER, dir_fd=folder)  # a removed folder still has that
        try:
            return open_folder(cluster, "..")
        finally:
            os.close(cluster)
    return None


def require_files(folder: int, cluster_path: str) -> None:
    """LauncherError if anything but a file has the name of one of ours."""
    for name in filter(_is_ours, os.listdir(folder)):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                path = os.path.join(cluster_path, FOLDER, name)
                raise LauncherError(f"{path}: is a symlink, or no file: remove it")


def open_file(folder: int, name: str, flags: int) -> int:
    """Open a regular file of the folder; OSError when it is anything else."""
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=folder)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "not a regular file", name)


def is_being_written(fd: int) -> bool:
    """Whether any process has a file open for writing. ``fd`` is open for reading only.

    Such a file cannot have a lease for reading (fcntl(2), F_SETLEASE).
    """
    try:
        # If a process opens the file to write while we hold the lease, the kernel sends us a
        # signal: SIGURG, which is ignored by default (signal(7)), in place of SIGIO, which ends.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def segments(folder: int) -> dict[str, list[int]]:
    """The numbers of the files of each source, the oldest (highest) first."""
    found: dict[str, list[int]] = {}
    for name in os.listdir(folder):
        if match := _SEGMENT.fullmatch(name):
            found.setdefault(match[1], []).append(int(match[2] or 0))
    return {source: sorted(found[source], reverse=True) for source in sorted(found, key=_order)}


def remove_folder(cluster: int) -> None:
    """Remove the logs and their folder. What others put into it stays, and so does it then."""
    with suppress(OSError, LauncherError):
        folder = open_folder(cluster, FOLDER)
        if folder is None:
            return
        try:
            _remove(folder, filter(_is_ours, os.listdir(folder)))
        finally:
            os.close(folder)
        os.rmdir(FOLDER, dir_fd=cluster)


def _is_ours(name: str) -> bool:
    return bool(_SEGMENT.fullmatch(name) or _BESIDE.fullmatch(name))


def _remove(folder: int, names: Iterable[str]) -> None:
    for name in names:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


def _order(source: str) -> int:
    """The primary, the pools, then the slots by number."""
    return int(source) if source.isdecimal() else (PRIMARY, POOL).index(source) - 2
