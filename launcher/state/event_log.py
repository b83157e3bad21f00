"""The file of a cluster's events, in its folder: written by its primary, read by ``events``.

``events.jsonl`` has an object a line: ``ts`` (RFC 3339, UTC), ``name`` (the cluster's), ``event``
(its kind), ``text`` (its line for people), then its values. At `MOST_BYTES` it becomes
``events.jsonl.1``, whose lines are lost then. The mode is 0600.

Nothing is synced: a machine that loses power may lose the last lines. A line that was not written
to its end is ended before the next one, and readers pass over it.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from launcher.events.fact import Event
from launcher.logs.folder import APPENDING, open_file
from launcher.state.files import load_object

__all__ = ["EVENT_FILES", "EventLog", "EventReader"]

FILE, EARLIER = "events.jsonl", "events.jsonl.1"
EVENT_FILES = (FILE, EARLIER)
MOST_BYTES = 1 << 20

TEXTS = ("ts", "name", "event", "text")
"""What each event has, besides its own values."""


class Place(Protocol):
    """Where the file is, as of `ClusterFolder`."""

    name: str
    path: str
    findable: bool
    dirfd: int


def _now() -> datetime:
    return datetime.now(UTC)


class EventLog:
    """Keeps events. One that cannot be written is lost; that is said once, until one could be."""

    def __init__(
        self,
        place: Place,
        complain: Callable[[str], None],
        now: Callable[[], datetime] = _now,
    ) -> None:
        """``place`` may be made anew elsewhere. Where commands cannot find it nothing is kept.

        ``complain`` has the line that says what is wrong.
        """
        self._place = place
        self._complain = complain
        self._now = now
        # Kept open, because where descriptors have run out there is something to tell.
        self._fd = -1
        self._lost = False

    def keep(self, event: Event) -> None:
        """Append it. Does not raise, nor wait for the disk."""
        if not self._place.findable:
            return
        try:
            self._append(_line(self._now(), self._place.name, event))
        except OSError as error:
            self.close()
            if not self._lost:
                path = os.path.join(self._place.path, FILE)
                self._complain(f"{path}: {error.strerror}; events are lost until it can be written")
            self._lost = True
        else:
            self._lost = False

    def close(self) -> None:
        """Let go of the file; the next event opens it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _append(self, line: bytes) -> None:
        size = self._open()
        if size and size + len(line) > MOST_BYTES:
            self._rotate()
            size = self._open()
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(self._fd, line) < len(line):  # the disk is full: the next write says so
            os.write(self._fd, b"\n")

    def _open(self) -> int:
        """Have the file open that others find under the name; its size in bytes."""
        if self._fd >= 0 and not os.fstat(self._fd).st_nlink:  # its folder was removed
            self.close()
        if self._fd < 0:
            self._fd = open_file(self._place.dirfd, FILE, APPENDING)
        return os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        folder = self._place.dirfd
        os.rename(FILE, EARLIER, src_dir_fd=folder, dst_dir_fd=folder)


class EventReader:
    """Reads the events of one cluster, whose folder is given each time."""

    def __init__(self) -> None:
        self._fd = -1
        self._begun = b""
        """The beginning of a line whose end is not written yet."""

    def last(self, folder: int, count: int) -> list[Mapping[str, Any]]:
        """The last events, the earliest first; `more` gives those after them."""
        found = []
        with suppress(OSError):
            earlier = open_file(folder, EARLIER, os.O_RDONLY)
            try:
                found = list(_events(_read_on(earlier)))
            finally:
                os.close(earlier)
        found += self.more(folder)
        return found[-count:] if count else []

    def more(self, folder: int) -> list[Mapping[str, Any]]:
        """The events that have come since.

        The file that has been read stays open: its number cannot go to another file
        meanwhile, and it is read to its end after it was renamed.
        """
        data = self._begun
        if self._fd >= 0:
            data += _read_on(self._fd)
        if not self._is_current(folder):
            # It was read above, and may have been written to until it was renamed.
            data += _read_on(self._fd) if self._fd >= 0 else b""
            data += b"\n" if data else b""
            self.close()
            with suppress(OSError):
                self._fd = open_file(folder, FILE, os.O_RDONLY)
                data += _read_on(self._fd)
        whole, end, self._begun = data.rpartition(b"\n")
        return list(_events(whole + end))

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _is_current(self, folder: int) -> bool:
        if self._fd < 0:
            return False
        with suppress(OSError):
            named = os.stat(FILE, dir_fd=folder, follow_symlinks=False)
            return os.path.samestat(named, os.fstat(self._fd))
        return True  # removed, and nothing in its place: what is open is all there is


def _line(now: datetime, name: str, event: Event) -> bytes:
    ts = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values = {"ts": ts, "name": name, "event": event.event, "text": event.text}
    return f"{json.dumps({**values, **event.values()})}\n".encode()


def _read_on(fd: int) -> bytes:
    """What is left to read of a file; at most what one holds, which bounds a damaged one."""
    return os.read(fd, MOST_BYTES)


def _events(data: bytes) -> Iterator[Mapping[str, Any]]:
    """The events in whole lines; what is none is passed over."""
    for line in data.splitlines():
        event = load_object(line.decode(errors="replace"))
        if event and all(isinstance(event.get(key), str) for key in TEXTS):
            yield event
