"""The folder of one cluster: claimed, kept and released by the process that is the cluster.

What is in it, and how it is locked, is told in `launcher.state.home`.
"""

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from launcher.errors import LauncherError
from launcher.logs.folder import remove_folder
from launcher.state.event_log import EVENT_FILES
from launcher.state.files import (
    has,
    load_object,
    make_own,
    open_own,
    read_text,
    replace_file,
    told,
)
from launcher.state.process_id import ProcessId

__all__ = ["ClusterFolder", "already_running", "claim", "holder", "variable_names"]

LOCK = "lock"
SOCKET = "control.sock"
APP = "app.json"
APP_NEW = f"{APP}.new"
VARIABLES = "variables.json"
KNOWN_FILES = (SOCKET, APP_NEW, APP, f"{VARIABLES}.new", VARIABLES, *EVENT_FILES, LOCK)
"""What may be removed. The lock is last: until then no other process can claim the folder."""

CONTROL_BACKLOG = 64
MAX_APP_JSON = 1 << 20
CLAIM_ATTEMPTS = 100
"""Each failed one means that another process forgot the folder in between: bounded, not waited."""

LOCK_UNNAMED = 1.0
"""Seconds for the holder of a lock to write its pid into it, or to let go of it."""


class ClusterFolder:
    """The folder of the cluster this process is. Held by the primary.

    In ``with``, leaving releases it, and forgets a cluster that never came as
    far as ``write_app_json``: a failed start leaves nothing behind.
    """

    findable = True
    """Whether commands can find the cluster."""

    def __init__(self, home_path: str, home_fd: int, name: str, dirfd: int) -> None:
        """For `claim`; takes ownership of ``dirfd``. ``home_fd``: of the folder that it is in."""
        self.name = name
        self.path = os.path.join(home_path, name)
        self.dirfd = dirfd
        self.before: Mapping[str, Any] | None = None
        """``app.json`` as it was when this process became the cluster."""
        self.variables_before: Sequence[str] = ()
        """The same of ``variables.json``."""
        self._home_path = home_path
        self._home_fd = home_fd
        self._lock_fd = -1
        self._held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release(forget=not has(self.dirfd, APP))

    def bind_control_socket(self) -> socket.socket:
        """A listening unix stream socket with mode 0600; ``release`` removes its file.

        Changes the umask for the moment of bind(2), which is the only way not to
        leave a gap; so only for a process that has one thread.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            with told(f"{self.path}/{SOCKET}", "set LAUNCHER_HOME to another file system"):
                listener.bind(f"/proc/self/fd/{self.dirfd}/{SOCKET}")
                listener.listen(CONTROL_BACKLOG)
        except LauncherError:
            listener.close()
            raise
        finally:
            os.umask(umask)
        return listener

    def write_app_json(self, settings: Mapping[str, Any]) -> None:
        """Keep how to start this cluster again: all of the new text or all of the old."""
        replace_file(self.dirfd, self.path, APP, json.dumps(settings, indent=1) + "\n")

    def write_variables(self, names: Sequence[str]) -> None:
        """Keep the names of the variables that this cluster was started with."""
        text = json.dumps({"variables": list(names)}, indent=1)
        replace_file(self.dirfd, self.path, VARIABLES, text + "\n")

    def complete(self) -> bool:
        """Whether nothing was removed by which others find this cluster, and can start it again."""
        with suppress(OSError):
            return self._still_the_one() and all(has(self.dirfd, name) for name in (SOCKET, APP))
        return False

    def restore(self) -> None:
        """Be the cluster of that name again, in a folder that is made anew if it was removed.

        All that was in it is still to be written. LauncherError if another process has the
        name, or there can be no such folder; then all is as before.
        """
        if not self._still_the_one():
            home_fd = make_own(self._home_path, make_parents=True)
            try:
                fresh = claim(self._home_path, home_fd, self.name)
            except BaseException:
                os.close(home_fd)
                raise
            self.close()
            self.dirfd, self._lock_fd, self._home_fd = fresh.dirfd, fresh._lock_fd, home_fd
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=self.dirfd)

    def release(self, *, forget: bool) -> None:
        """Stop being this cluster; ``forget`` its files and folder too. Again: does nothing.

        What others put into the folder stays, and then the folder does too.
        """
        if not self._held:
            return
        self._held = False
        with suppress(OSError):
            os.ftruncate(self._lock_fd, 0)  # the process may go on, but not as this cluster
        if forget:
            remove_folder(self.dirfd)
        for file in KNOWN_FILES if forget else (SOCKET,):
            with suppress(OSError):
                os.unlink(file, dir_fd=self.dirfd)
        if forget:
            with suppress(OSError):
                os.rmdir(self.name, dir_fd=self._home_fd)
        self.close()

    def take(self) -> bool:
        """Take the lock, for `claim`; False if the folder was forgotten meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            self._lock_fd = os.open(LOCK, flags, 0o600, dir_fd=self.dirfd)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise LauncherError(f"{self.path}/{LOCK} is a symlink: remove it") from None
        self._lock()
        if not self._still_the_one():
            return False
        self._require_socket()
        self._write_lock()
        with suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=self.dirfd)
        self.before = load_object(read_text(self.dirfd, APP, MAX_APP_JSON))
        self.variables_before = variable_names(self.dirfd)
        self._held = True
        return True

    def close(self) -> None:
        """Close the descriptors, and with them drop the lock."""
        for fd in {self.dirfd, self._lock_fd} - {-1}:
            os.close(fd)
        self.dirfd = self._lock_fd = -1

    def _lock(self) -> None:
        """LauncherError, naming the process, if another one has the lock.

        A lock without a name of a living process is one that has just been taken,
        or is just being given up: that is over in a moment, and then it is clear.
        """
        deadline = time.monotonic() + LOCK_UNNAMED
        while True:
            with suppress(BlockingIOError):
                return fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = holder(self.dirfd)
            living = process if process and process.alive() else None
            if living or time.monotonic() >= deadline:
                raise LauncherError(already_running(self.name, living))
            time.sleep(0.002)

    def _still_the_one(self) -> bool:
        """Whether what is open and locked is what others find under its name."""
        with suppress(FileNotFoundError):
            folder = os.stat(self.name, dir_fd=self._home_fd, follow_symlinks=False)
            lock = os.stat(LOCK, dir_fd=self.dirfd, follow_symlinks=False)
            return os.path.samestat(folder, os.fstat(self.dirfd)) and os.path.samestat(
                lock, os.fstat(self._lock_fd)
            )
        return False

    def _require_socket(self) -> None:
        """Remove no file but the socket of a cluster that is gone."""
        with suppress(FileNotFoundError):
            mode = os.stat(SOCKET, dir_fd=self.dirfd, follow_symlinks=False).st_mode
            if not stat.S_ISSOCK(mode):
                raise LauncherError(f"{self.path}/{SOCKET} is no socket: remove it")

    def _write_lock(self) -> None:
        """Written over before it is cut: a reader finds the old first line or the new one."""
        text = f"{ProcessId.of(os.getpid())}\n".encode()
        os.pwrite(self._lock_fd, text, 0)
        os.ftruncate(self._lock_fd, len(text))


def claim(home_path: str, home_fd: int, name: str) -> ClusterFolder:
    """Become this cluster until ``release`` or the end of the process.

    LauncherError if another process is it, or the folder cannot be used.
    """
    path = os.path.join(home_path, name)
    with told(path, "set LAUNCHER_HOME to a folder you can write"):
        for _ in range(CLAIM_ATTEMPTS):
            if folder := _try_claim(home_path, home_fd, name):
                return folder
    raise LauncherError(f"{path}: removed again and again by another process")


def _try_claim(home_path: str, home_fd: int, name: str) -> ClusterFolder | None:
    """One attempt; None if the folder was forgotten meanwhile.

    A process that forgets a folder holds its lock, so a lock taken on a file that
    is still the one in the folder of that name cannot be lost any more.
    """
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=home_fd)
    try:
        dirfd = open_own(os.path.join(home_path, name), name, home_fd)
    except FileNotFoundError:
        return None
    folder = ClusterFolder(home_path, home_fd, name, dirfd)
    try:
        if folder.take():
            return folder
    except BaseException:
        folder.close()
        raise
    folder.close()
    return None


def already_running(name: str, process: ProcessId | None) -> str:
    """Why a cluster cannot be started."""
    who = f" (pid {process.pid})" if process else ""
    return (
        f"cluster {name!r} is already running{who}: choose another --name,"
        f" or stop it: python -m launcher stop {name}"
    )


def variable_names(dirfd: int) -> list[str]:
    """The names of the variables that the cluster was last started with, if they are known."""
    match load_object(read_text(dirfd, VARIABLES, MAX_APP_JSON)):
        case {"variables": [*names]}:
            return [name for name in names if isinstance(name, str)]
    return []


def holder(dirfd: int) -> ProcessId | None:
    """The process that the lock names, living or not."""
    return ProcessId.parse(read_text(dirfd, LOCK, 100) or "")
