"""The state folder: which clusters there are, and how to reach them.

``LAUNCHER_HOME`` (``~/.launcher``; see `launcher.places`), mode 0700, holds one
folder per cluster:

    lock          flock held by the primary; text ``pid starttime``
    control.sock  where the primary answers (0600)
    app.json      how to start it again: settings, no environment values
    variables.json  the names of the variables that it was started with

Two questions are kept apart. *May I be this cluster?* is the flock and nothing
else: the kernel drops it with the primary, however it dies, so a stale folder
never blocks a start. *Is it running, and as which process?* is for readers, who
never take the lock (a reader holding it, even shared and for a moment, would
make a start fail for no reason): they compare the pid and start time in
``lock`` with /proc. A reused pid has another start time.

Everything is opened relative to a descriptor of its folder and never through a
symlink, so that nothing planted in a shared place is followed. Only the parents
of the state folder may be symlinks.

Used by the command line and by the primary; neither gunicorn nor the app is known here.
"""

import errno
import fcntl
import json
import math
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from launcher.config.readers import check_name
from launcher.errors import LauncherError, UsageError
from launcher.logs.folder import open_folder, remove_folder
from launcher.places import spare_places, state_path

__all__ = [
    "ClusterFolder",
    "Entry",
    "Home",
    "ProcessId",
    "already_running",
    "load_object",
    "read_text",
    "replace_file",
    "require_name",
]

LOCK = "lock"
SOCKET = "control.sock"
APP = "app.json"
APP_NEW = f"{APP}.new"
VARIABLES = "variables.json"
KNOWN_FILES = (SOCKET, APP_NEW, APP, f"{VARIABLES}.new", VARIABLES, LOCK)
"""What may be removed. The lock is last: until then nobody else can claim the folder."""

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
CONTROL_BACKLOG = 64
MAX_APP_JSON = 1 << 20
CLAIM_ATTEMPTS = 100
"""Each failed one means that another process forgot the folder in between: bounded, not waited."""

LOCK_UNNAMED = 1.0
"""Seconds for the holder of a lock to write into it who it is, or to let go of it."""


def require_name(name: str) -> str:
    """The name, if it may be one; it becomes a path, so every way in comes through here."""
    try:
        return check_name(name)
    except ValueError as error:
        shown = repr(name if len(name) <= 64 else f"{name[:64]}\N{HORIZONTAL ELLIPSIS}")
        raise UsageError(f"{shown} {error}") from None


class ProcessId(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    starttime: int
    """Clock ticks since boot: field 22 of /proc/<pid>/stat, see proc(5)."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The living process ``pid``; None if there is none, or only its zombie."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read()
        except OSError:
            return None
        # Field 2, the name, may hold blanks and parentheses: count from its last one.
        state, *fields = text[text.rindex(b")") + 2 :].split()
        return None if state in b"ZX" else cls(pid, int(fields[18]))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the first line of a ``lock`` file; None if it is not one (yet)."""
        match text.partition("\n")[0].split(" "):
            case [pid, starttime] if pid.isdecimal() and starttime.isdecimal():
                return cls(int(pid), int(starttime))
        return None

    def __str__(self) -> str:
        return f"{self.pid} {self.starttime}"

    def frozen(self) -> bool:
        """Whether it is stopped: by SIGSTOP, Ctrl-Z or a debugger."""
        with suppress(OSError), open(f"/proc/{self.pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] in (b"T", b"t")
        return False

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self


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
        with _told(path, "set LAUNCHER_HOME to a folder you can write"):
            if make_parents:
                os.makedirs(path, mode=0o700, exist_ok=True)
            else:
                with suppress(FileExistsError):
                    os.mkdir(path, 0o700)
            return cls(path, _open_folder(path))

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
            return cls(path, _open_folder(path))
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
            process = _holder(dirfd)
            settings = load_object(read_text(dirfd, APP, MAX_APP_JSON))
            if process and process.alive():
                return Entry(name, process, settings)
            # Read again: as it ended in an orderly way, the lock was emptied before it was gone.
            dead = process if process == _holder(dirfd) else None
            return Entry(name, None, settings, dead)
        return None  # forgotten since the first line

    def variables(self, name: str) -> list[str]:
        """The names of the variables that a cluster was last started with, if that is known."""
        with suppress(FileNotFoundError, LauncherError), self._folder(name) as dirfd:
            return _names(dirfd)
        return []

    def has(self, file: str) -> bool:
        """Whether there is something of that name, whatever it is."""
        with suppress(OSError):
            os.stat(file, dir_fd=self.dirfd, follow_symlinks=False)
            return True
        return False

    def connect(self, name: str, timeout: float) -> socket.socket:
        """Connect to the control socket of a cluster; the socket keeps ``timeout`` seconds.

        OSError as connect(2) gives it: nobody there (ENOENT, ECONNREFUSED), or
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

    def claim(self, name: str) -> "ClusterFolder":
        """Become this cluster until ``release`` or the end of the process.

        LauncherError if another process is it, or the folder cannot be used.
        """
        path = os.path.join(self.path, require_name(name))
        with _told(path, "set LAUNCHER_HOME to a folder you can write"):
            for _ in range(CLAIM_ATTEMPTS):
                if folder := self._try_claim(name):
                    return folder
        raise LauncherError(f"{path}: removed again and again by another process")

    def forget(self, name: str) -> None:
        """Remove a cluster that does not run. LauncherError if it does."""
        self.claim(name).release(forget=True)

    def _try_claim(self, name: str) -> "ClusterFolder | None":
        """One attempt; None if the folder was forgotten meanwhile.

        Whoever forgets a folder holds its lock, so a lock taken on a file that
        is still the one in the folder of that name cannot be lost any more.
        """
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.dirfd)
        try:
            folder = ClusterFolder(self, name, _open_folder(self._path(name), name, self.dirfd))
        except FileNotFoundError:
            return None
        try:
            if folder.take():
                return folder
        except BaseException:
            folder.close()
            raise
        folder.close()
        return None

    def _is_cluster(self, name: str) -> bool:
        """Only a folder with a lock is one; people may keep other things here."""
        with suppress(ValueError, OSError):
            place = f"{check_name(name)}/{LOCK}"
            return stat.S_ISREG(os.stat(place, dir_fd=self.dirfd, follow_symlinks=False).st_mode)
        return False

    @contextmanager
    def _folder(self, name: str) -> Iterator[int]:
        dirfd = _open_folder(self._path(name), require_name(name), self.dirfd)
        try:
            yield dirfd
        finally:
            os.close(dirfd)

    def _path(self, name: str) -> str:
        return os.path.join(self.path, name)


class ClusterFolder:
    """The folder of the cluster this process is. Held by the primary.

    In ``with``, leaving releases it, and forgets a cluster that never came as
    far as ``write_app_json``: a failed start leaves nothing behind.
    """

    findable = True
    """Whether commands can find the cluster."""

    def __init__(self, home: Home, name: str, dirfd: int) -> None:
        """For ``Home.claim``; takes ownership of the descriptor."""
        self.name = name
        self.path = os.path.join(home.path, name)
        self.dirfd = dirfd
        self.before: Mapping[str, Any] | None = None
        """``app.json`` as it was when this process became the cluster."""
        self.variables_before: Sequence[str] = ()
        """The same of ``variables.json``."""
        self._home = home
        self._lock_fd = -1
        self._held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release(forget=not self._exists(APP))

    def bind_control_socket(self) -> socket.socket:
        """A listening unix stream socket with mode 0600; ``release`` removes its file.

        Changes the umask for the moment of bind(2), which is the only way not to
        leave a gap; so only for a process that has one thread.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            with _told(f"{self.path}/{SOCKET}", "set LAUNCHER_HOME to another file system"):
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
            return self._still_the_one() and all(map(self._exists, (SOCKET, APP)))
        return False

    def restore(self) -> None:
        """Be the cluster of that name again, in a folder that is made anew if it was removed.

        All that was in it is still to be written. LauncherError if another process has the
        name, or there can be no such folder; then all is as before.
        """
        if not self._still_the_one():
            home = Home.at(self._home.path, make_parents=True)
            try:
                fresh = home.claim(self.name)
            except BaseException:
                home.close()
                raise
            self.close()
            self.dirfd, self._lock_fd, self._home = fresh.dirfd, fresh._lock_fd, home
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
                os.rmdir(self.name, dir_fd=self._home.dirfd)
        self.close()

    def take(self) -> bool:
        """Take the lock, for ``Home.claim``; False if the folder was forgotten meanwhile."""
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
        self.variables_before = _names(self.dirfd)
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
            process = _holder(self.dirfd)
            living = process if process and process.alive() else None
            if living or time.monotonic() >= deadline:
                raise LauncherError(already_running(self.name, living))
            time.sleep(0.002)

    def _still_the_one(self) -> bool:
        """Whether what is open and locked is what others find under its name."""
        with suppress(FileNotFoundError):
            folder = os.stat(self.name, dir_fd=self._home.dirfd, follow_symlinks=False)
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

    def _exists(self, file: str) -> bool:
        with suppress(OSError):
            os.stat(file, dir_fd=self.dirfd, follow_symlinks=False)
            return True
        return False


def replace_file(dirfd: int, path: str, name: str, text: str) -> None:
    """Have all of the text in a file of a folder, whose ``path`` is for messages, or all as it was.

    LauncherError if that cannot be, or something that is no file has the name, or ``name.new``.
    """
    new = f"{name}.new"
    with _told(f"{path}/{name}", "free some space or set LAUNCHER_HOME to another folder"):
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


def already_running(name: str, process: ProcessId | None) -> str:
    """Why a cluster cannot be started."""
    who = f" (pid {process.pid})" if process else ""
    return (
        f"cluster {name!r} is already running{who}: choose another --name,"
        f" or stop it: python -m launcher stop {name}"
    )


def _open_folder(path: str, name: str | None = None, dirfd: int | None = None) -> int:
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


@contextmanager
def _told(path: str, advice: str) -> Iterator[None]:
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


def _names(dirfd: int) -> list[str]:
    match load_object(read_text(dirfd, VARIABLES, MAX_APP_JSON)):
        case {"variables": [*names]}:
            return [name for name in names if isinstance(name, str)]
    return []


def _finite(text: str) -> float:
    """Refuse NaN and the infinities, which Python reads and would print, but JSON does not know."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _holder(dirfd: int) -> ProcessId | None:
    """The process that the lock names, living or not."""
    return ProcessId.parse(read_text(dirfd, LOCK, 100) or "")


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
