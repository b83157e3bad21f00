"""Opens, reads and replaces what is in the state folder: through no symlink, and all or nothing."""

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from launcher.errors import LauncherError

__all__ = ["has", "load_object", "make_own", "open_own", "read_text", "replace_file", "told"]

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def open_own(path: str, name: str | None = None, dirfd: int | None = None) -> int:
    """Open a folder that only this user can change; ``path`` is for the message.

    ``name`` in ``dirfd``, or ``path`` itself. FileNotFoundError if there is
    none; LauncherError if it is not such a folder.
    """
    try:
        fd = os.open(path if name is None else name, FOLDER_FLAGS, dir_fd=dirfd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error, "set LAUNCHER_HOME to a folder of your own") from None
    status = os.fstat(fd)
    if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        return fd
    os.close(fd)
    if status.st_uid != os.geteuid():
        raise LauncherError(
            f"{path} belongs to user id {status.st_uid}, not to you ({os.geteuid()}):"
            " set LAUNCHER_HOME to a folder of your own"
        )
    raise LauncherError(f"{path} can be written by others: chmod go-w {path}")


def make_own(path: str, *, make_parents: bool = False) -> int:
    """Open a folder as `open_own`, and make it if need be. LauncherError if that cannot be."""
    with told(path, "set LAUNCHER_HOME to a folder you can write"):
        if make_parents:
            os.makedirs(path, mode=0o700, exist_ok=True)
        else:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        return open_own(path)


def read_text(dirfd: int, name: str, limit: int) -> str | None:
    """The text of a small regular file; None if it is anything else. Never blocks.

    OSError if no descriptor is to be had, which says nothing about the file.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    with open(fd, "rb") as file:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        data = file.read(limit + 1) if regular else b""
    return data.decode(errors="replace") if 0 < len(data) <= limit else None


def load_object(text: str | None) -> Mapping[str, Any] | None:
    """A JSON object, or None: what is damaged is as good as absent."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text or "null", parse_float=_finite, parse_constant=_finite)
        return value if isinstance(value, dict) else None
    return None


def has(dirfd: int, name: str) -> bool:
    """Whether there is something of that name in a folder, whatever it is."""
    with suppress(OSError):
        os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        return True
    return False


def replace_file(dirfd: int, path: str, name: str, text: str) -> None:
    """Have all of the text in a file of a folder, whose ``path`` is for messages, or all as it was.

    LauncherError if that cannot be, or something that is no file has the name, or ``name.new``.
    """
    new = f"{name}.new"
    with told(f"{path}/{name}", "free some space or set LAUNCHER_HOME to another folder"):
        for each in (name, new):
            _require_file(dirfd, path, each)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(new, flags, 0o600, dir_fd=dirfd), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
        os.fsync(dirfd)


def _require_file(dirfd: int, path: str, name: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=dirfd, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            what = "a symlink" if stat.S_ISLNK(mode) else "no file"
            raise LauncherError(f"{path}/{name} is {what}: remove it")


@contextmanager
def told(path: str, advice: str) -> Iterator[None]:
    """Turn what the system refuses into one line with the path and what to do."""
    try:
        yield
    except OSError as error:
        raise _refusal(path, error, advice) from None


def _refusal(path: str, error: OSError, advice: str) -> LauncherError:
    why = error.strerror
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST) and os.path.lexists(path):
        why = "is a symlink" if os.path.islink(path) else "is not a folder"
    return LauncherError(f"{path}: {why}: {advice}")


def _finite(text: str) -> float:
    """Refuse NaN and the infinities, which Python reads and would print, but JSON does not know."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
