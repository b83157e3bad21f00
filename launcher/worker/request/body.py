"""The body of a request that is taken out of the kernel and kept until it is whole."""

from __future__ import annotations

from typing import Protocol

from launcher.worker.request.body_errors import NoRoom
from launcher.worker.request.chunks import ChunkScanner
from launcher.worker.request.parsing import Arrived, Framing
from launcher.worker.request.uploads import EARLY, Spool, Uploads

_MOST_AT_ONCE = 256 * 1024


class Reader(Protocol):
    """What the app reads a body from, while that comes (``worker/connection/body_reader.py``)."""

    failure: Exception | None
    """What was wrong with the body."""

    def settle(self) -> bool:
        """As `Incoming.settle`."""

    def end(self) -> None:
        """Take nothing more from the client."""


class Incoming:
    """A request whose body is taken out of the kernel."""

    def __init__(self, arrived: Arrived, uploads: Uploads) -> None:
        self.arrived = arrived
        self.reader: Reader | None = None
        """Set once the app reads the body from the client as it comes."""
        self.left = arrived.length
        """Bytes that have not come yet, of a body whose length is known."""
        self._uploads = uploads
        self._kept = Spool(uploads)
        self._no_room: NoRoom | None = None
        self._more = b""
        """Bytes that came when there was no room left to keep them, for the reader."""
        self._scanner = ChunkScanner() if arrived.framing is Framing.CHUNKED else None

    @property
    def whole(self) -> bool:
        """Whether all of the body is out of the kernel."""
        return self._scanner.done if self._scanner else self.left == 0

    @property
    def presses(self) -> bool:
        """Whether the app should begin before all is here: much has come, or there is no room."""
        return self._kept.size >= EARLY or self._no_room is not None

    @property
    def appetite(self) -> int:
        """Bytes to take at once: no more than are missing to the size at which the app begins."""
        missing = EARLY - self._kept.size
        return min(missing, _MOST_AT_ONCE) if missing > 0 else _MOST_AT_ONCE

    @property
    def failure(self) -> Exception | None:
        """What was wrong with the body when the app read it."""
        return self.reader.failure if self.reader else None

    def belongs(self, data: bytes) -> int:
        """How many of the bytes that have arrived belong to this body. Raises TooLarge."""
        if self._scanner is None:
            return min(len(data), self.left)
        used = self._scanner.feed(data)
        self._uploads.check(self._scanner.size)
        return used

    def take(self, data: bytes) -> int:
        """Keep the bytes that have arrived, as far as they belong to this body; how many do.

        Raises TooLarge; and NoRoom, if there was no room for the bytes before these.
        """
        if self._no_room:
            raise self._no_room
        data = data[: self.belongs(data)]
        self.left -= len(data)
        try:
            self._kept.write(data)
        except NoRoom as error:
            self._no_room, self._more = error, data
        return len(data)

    def finish(self) -> Arrived:
        """The request with its whole body, ready for the app. Raises gunicorn's errors, and NoRoom.

        A chunked body is decoded here, so that what is malformed about it is
        known before the app runs.
        """
        if self._scanner is None:
            self.arrived.read_body_from(self)
            return self.arrived
        decoded = Spool(self._uploads)
        try:
            self.arrived.decode_body(self, decoded)
        except BaseException:
            decoded.close()
            raise
        self._kept.close()
        self._kept, self._more = decoded, b""
        return self.arrived

    def settle(self) -> bool:
        """The response is about to begin: whether the next request can follow it.

        Raises what was wrong with the body: without the whole of the request, the
        app has nothing to answer.
        """
        return self.reader is None or self.reader.settle()

    def close(self) -> None:
        """Drop what was kept. An app that still has ``wsgi.input`` cannot read from it any more."""
        if self.reader:
            self.reader.end()
        self._kept.close()
        self._more = b""

    # What is here already, for the reader

    def unread(self) -> int:
        """Bytes that are here and not decoded yet."""
        return self._kept.unread() + len(self._more)

    def add(self, data: bytes) -> None:
        """Keep bytes that have come behind those that are here."""
        self._more += data

    def read(self, size: int) -> bytes:
        """The next bytes of those that are here; empty when there are no more."""
        data = self._kept.read(size)
        if not data:
            self._kept.close()
            data, self._more = self._more[:size], self._more[size:]
        return data
