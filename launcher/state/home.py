"""The state folder: which clusters there are, and how to reach them.

``LAUNCHER_HOME`` (``~/.launcher``; see `launcher.places`), mode 0700, holds one
folder per cluster:

    lock          flock held by the primary; text ``pid starttime``
    control.sock  where the primary answers (0600)
    app.json      how to start it again: settings, no environment values
    variables.json  the names of the variables that it was started with
    events.jsonl  what has happened to it, and events.jsonl.1 before that

Two questions are kept apart. *May I be this cluster?* is the flock and nothing
else: the kernel drops it with the primary, however it dies, so a stale folder
never blocks a start. *Is it running, and as which process?* is for readers, which
never take the lock (a reader holding it, even shared and for a moment, would
make a start fail for no reason): they compare the pid and start time in
``lock`` with /proc. A reused pid has another start time.

Everything is opened relative to a descriptor of its folder and never through a
symlink, so that nothing planted in a shared place is followed. Only the parents
of the state folder may be symlinks.

Used by the command line and by the primary; neither gunicorn nor the app is known here.
"""

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from launcher.config.readers import check_name
from launcher.errors import LauncherError, UsageError
from launcher.logs.folder import open_folder
from launcher.places import spare_places, state_path
from launcher.state.cluster_folder import (
    APP,
    LOCK,
    MAX_APP_JSON,
    SOCKET,
    ClusterFolder,
    claim,
    holder,
    variable_names,
)
from launcher.state.files import has, load_object, make_own, open_own, read_text
from launcher.state.process_id import ProcessId

__all__ = ["Entry", "Home", "require_name"]


def require_name(name: str) -> str:
    """The name, if it may be one; it becomes a path, so every way in comes through here."""
    try:
        return check_name(name)
    except ValueError as error:
        shown = repr(name if len(name) <= 64 else f"{name[:64]}\N{HORIZONTAL ELLIPSIS}")
        raise UsageError(f"{shown} {error}") from None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the folder of a cluster says about it."""

    name: str
    process: ProcessId | None
    """The primary, while it runs."""
    settings: Mapping[str, Any] | None
    """``app.json`` as it is, unchecked; None if there is none that can be read."""
    dead: ProcessId | None = None
    """The primary, if it died: the lock, which an orderly end empties, still names it."""

    @property
    def running(self) -> bool:
        """Whether the primary ran when the entry was read."""
        return self.process is not None


class Home:
    """The state folder, open. Close it, or use it in ``with``."""

    def __init__(self, path: str, dirfd: int) -> None:
        """For ``open`` and ``open_existing``; takes ownership of the descriptor."""
        self.path = path
        self.dirfd = dirfd

    @classmethod
    def open(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The state folder, made if need be. LauncherError if it is not safe or not possible."""
        return cls.at(state_path(environ), make_parents=True)

    @classmethod
    def at(cls, path: str, *, make_parents: bool = False) -> Self:
        """A state folder in this place, made if need be. LauncherError as `open`."""
        return cls(path, make_own(path, make_parents=make_parents))

    @classmethod
    def open_existing(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """The state folder for readers: None where there is none, nothing is made.

        Where it cannot be written, that of a foreground cluster which went elsewhere.
        LauncherError if it is not safe, and there is no other.
        """
        spare = [path for path in spare_places(environ) if os.path.lexists(path)]
        try:
            home = cls._if_there(state_path(environ))
        except LauncherError:
            if not spare:
                raise
            home = None
        for path in spare if home is None or not home.writable() else ():
            with suppress(LauncherError):
                if other := cls._if_there(path):
                    if home:
                        home.close()
                    return other
        return home

    @classmethod
    def _if_there(cls, path: str) -> Self | None:
        try:
            return cls(path, open_own(path))
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.dirfd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def writable(self) -> bool:
        """Whether a cluster could be here: not on a file system that can only be read."""
        return os.access(f"/proc/self/fd/{self.dirfd}", os.W_OK | os.X_OK, effective_ids=True)

    def names(self) -> list[str]:
        """The clusters that have a folder, running or not, in order."""
        return sorted(name for name in os.listdir(self.dirfd) if self._is_cluster(name))

    def entry(self, name: str) -> Entry | None:
        """What is known about a cluster; None if there is none of that name.

        Takes no lock. LauncherError if its folder is not safe.
        """
        if not self._is_cluster(require_name(name)):
            return None
        with suppress(FileNotFoundError), self._folder(name) as dirfd:
            process = holder(dirfd)
            settings = load_object(read_text(dirfd, APP, MAX_APP_JSON))
            if process and process.alive():
                return Entry(name, process, settings)
            # Read again: as it ended in an orderly way, the lock was emptied before it was gone.
            dead = process if process == holder(dirfd) else None
            return Entry(name, None, settings, dead)
        return None  # forgotten since the first line

    def variables(self, name: str) -> list[str]:
        """The names of the variables that a cluster was last started with, if that is known."""
        with suppress(FileNotFoundError, LauncherError), self._folder(name) as dirfd:
            return variable_names(dirfd)
        return []

    def has(self, file: str) -> bool:
        """Whether there is something of that name, whatever it is."""
        return has(self.dirfd, file)

    def connect(self, name: str, timeout: float) -> socket.socket:
        """Connect to the control socket of a cluster; the socket keeps ``timeout`` seconds.

        OSError as connect(2) gives it: no primary there (ENOENT, ECONNREFUSED), or
        TimeoutError. Through /proc/self/fd, because the path of a unix socket
        ends at 107 bytes; through O_PATH, because connect(2) follows symlinks.
        """
        with self._folder(name) as dirfd:
            fd = os.open(SOCKET, os.O_PATH | os.O_NOFOLLOW, dir_fd=dirfd)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                raise ConnectionRefusedError(errno.ECONNREFUSED, "not a socket")
            return _connect(f"/proc/self/fd/{fd}", timeout)
        finally:
            os.close(fd)

    @contextmanager
    def logs(self, name: str) -> Iterator[int | None]:
        """The log folder of a cluster, open; None if it has none.

        LauncherError if its folders are not safe.
        """
        try:
            with self._folder(name) as dirfd:
                folder = open_folder(dirfd, self._path(name))
        except FileNotFoundError:
            folder = None
        try:
            yield folder
        finally:
            if folder is not None:
                os.close(folder)

    @contextmanager
    def folder(self, name: str) -> Iterator[int | None]:
        """The folder of a cluster, open; None if there is none of that name.

        LauncherError if it is not safe.
        """
        try:
            dirfd = open_own(self._path(name), require_name(name), self.dirfd)
        except FileNotFoundError:
            yield None
            return
        try:
            yield dirfd
        finally:
            os.close(dirfd)

    def claim(self, name: str) -> ClusterFolder:
        """Become this cluster until ``release`` or the end of the process.

        LauncherError if another process is it, or the folder cannot be used.
        """
        return claim(self.path, self.dirfd, require_name(name))

    def forget(self, name: str) -> None:
        """Remove a cluster that does not run. LauncherError if it does."""
        self.claim(name).release(forget=True)

    def _is_cluster(self, name: str) -> bool:
        """Only a folder with a lock is one; people may keep other things here."""
        with suppress(ValueError, OSError):
            place = f"{check_name(name)}/{LOCK}"
            return stat.S_ISREG(os.stat(place, dir_fd=self.dirfd, follow_symlinks=False).st_mode)
        return False

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        dirfd = open_own(self._path(name), require_name(name), self.dirfd)
        try:
            yield dirfd
        finally:
            os.close(dirfd)

    def _path(self, name: str) -> str:
        return os.path.join(self.path, name)


def _connect(path: str, timeout: float) -> socket.socket:
    """connect(2) with a deadline.

    A non-blocking connect to a unix socket with a full backlog fails at once
    instead of being under way; SO_SNDTIMEO makes the kernel do the waiting.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        micros = max(1, int(timeout * 1_000_000))
        timeval = struct.pack("@ll", *divmod(micros, 1_000_000))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        client.connect(path)
        client.settimeout(timeout)
    except BlockingIOError:
        client.close()
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
    except BaseException:
        client.close()
        raise
    return client
