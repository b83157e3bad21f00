"""The body of a request that the app reads as it comes.

The body goes through three hands: `_Sender` takes its bytes from the connection and knows where
the body ends; `BodyReader` has chunks decoded by gunicorn's parser; and behind ``wsgi.input``
there is Python's own buffer, which waits for no more than the app asks for (gunicorn's waits
for a kilobyte where the app asks for a line).
"""

from __future__ import annotations

import io
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

from gunicorn.http.errors import ChunkMissingTerminator, NoMoreData

from launcher.ipc.notes import Notepad
from launcher.policy.rescue import CONTINUE
from launcher.policy.serving.patience import Patience
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.phase import Broken
from launcher.worker.request.body import Incoming
from launcher.worker.request.body_errors import BodyError, Gone, TooSlow
from launcher.worker.request.parsing import Arrived, Framing

_BLOCK = 64 * 1024

_LOOK = 1.0
"""Seconds between two looks at how long the client may pause."""

_MOST_LEFT = 256 * 1024
"""Bytes of a body that an app may leave unread without its connection being closed for it."""


def stream(
    incoming: Incoming,
    conn: Connection,
    pad: Notepad,
    patience: Patience,
    silence: Callable[[], float],
) -> Arrived:
    """The request, for an app that reads the body as it comes.

    ``silence``: seconds for which the client may pause, as of now; fewer than
    ``patience`` says in a worker that leaves.
    """
    arrived = incoming.arrived
    sender = _Sender(incoming, conn, pad, patience, silence)
    arrived.read_body_from(sender)
    incoming.reader = reader = BodyReader(arrived, sender)
    arrived.request.body = io.BufferedReader(reader, _BLOCK)
    return arrived


class _Sender:
    """The client, as the source of a body's bytes, in whatever coding."""

    def __init__(
        self,
        incoming: Incoming,
        conn: Connection,
        pad: Notepad,
        patience: Patience,
        silence: Callable[[], float],
    ) -> None:
        self.closed = False
        self.failure: BodyError | None = None
        self._incoming = incoming
        self._conn = conn
        self._pad = pad
        self._patience = patience
        self._silence = silence
        self._received = incoming.unread()
        self._waited = 0.0
        expects = incoming.arrived.request._expected_100_continue
        self._waits_for_us = expects and not conn.continued

    def read(self, size: int) -> bytes:
        """The next bytes, waited for if need be; empty when all have been read.

        Raises Gone, TooSlow and TooLarge.
        """
        data = self._incoming.read(size)
        if data or self._incoming.whole:
            return data
        try:
            data = self._receive(size)
        except Broken:
            self.failure = Gone()
            raise self.failure from None
        except BodyError as error:
            self.failure = error
            raise
        self._received += len(data)
        self._pad.progressed(time.monotonic_ns())
        return data

    def take_rest(self, most: int) -> bool:
        """Take the rest of the body, if all of it is here and at most ``most`` bytes; whether so.

        A client that has asked whether to send the body is not told to any more.
        """
        self._waits_for_us = False
        incoming = self._incoming
        room = most - incoming.unread()
        if incoming.left > room:
            return False
        while not incoming.whole and room > 0:
            data = self._pull(min(room, _BLOCK))
            if not data:
                return False
            incoming.add(data)
            room -= len(data)
        return incoming.whole and room >= 0

    def _receive(self, size: int) -> bytes:
        data = self._pull(size)
        if data is None:
            self._tell_to_send()
            data = self._wait(size)
        if not data:
            raise Gone
        return data

    def _tell_to_send(self) -> None:
        """Now only, since the app has had its chance to refuse (RFC 9110 section 10.1.1)."""
        if self._waits_for_us:
            self._waits_for_us = False
            self._conn.continued = True
            self._conn.send(CONTINUE)

    def _wait(self, size: int) -> bytes:
        self._pad.wait_for_client()
        try:
            return self._wait_for_more(size)
        finally:
            self._pad.progressed(time.monotonic_ns())

    def _wait_for_more(self, size: int) -> bytes:
        readable = select.poll()
        readable.register(self._conn.fd, select.POLLIN)
        began = now = time.monotonic()
        data = None
        while data is None:
            silent = now - began
            left = self._patience.left(self._received, self._waited + silent, silent)
            left = min(left, self._silence() - silent)
            if left <= 0:
                raise TooSlow
            readable.poll(min(left, _LOOK) * 1000)
            data = self._pull(size)
            now = time.monotonic()
        self._waited += now - began
        return data

    def _pull(self, size: int) -> bytes | None:
        """Bytes of this body that have come; None: none yet; empty: the client has left."""
        conn, incoming = self._conn, self._incoming
        if self.closed or conn.abandoned:
            raise Gone
        if incoming.arrived.framing is Framing.LENGTH:
            data = conn.pull(min(size, incoming.left))
            incoming.left -= len(data or b"")
            return data
        data = conn.peek(size)
        if data:
            data = data[: incoming.belongs(data)]
            conn.drop(len(data))
        return data


class BodyReader(io.RawIOBase):
    """The decoded body, as it comes."""

    def __init__(self, arrived: Arrived, sender: _Sender) -> None:
        self.failure: Exception | None = None
        self._sender = sender
        self._source = arrived.source
        chunked = arrived.framing is Framing.CHUNKED
        self._chunks: Iterator[bytes] | None = (
            arrived.request.body.reader.parser if chunked else None
        )
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """True, as for every file that can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Put what has come into ``buffer``, waiting if nothing has; how many bytes, 0 at the end.

        Raises BodyError and gunicorn's errors.
        """
        if not self._piece:
            self._piece = memoryview(self._next())
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def settle(self) -> bool:
        """As `Incoming.settle`. The app can still read the rest of the body afterwards."""
        if self.failure:
            raise self.failure
        try:
            if not self._sender.take_rest(_MOST_LEFT):
                return False
            rest = iter(self._next, b"")
            self._piece = memoryview(b"".join([self._piece, *rest]))
        except (
            Exception
        ):  # the rest has not come, or is malformed; the app hears of that if it reads on
            return False
        return self._source.rest() == 0

    def end(self) -> None:
        """Take nothing more from the client."""
        self._sender.closed = True

    def _next(self) -> bytes:
        if self.failure:
            raise self.failure
        try:
            if self._chunks is None:
                return self._sender.read(_BLOCK)
            return next(filter(None, self._chunks), b"")
        except NoMoreData:
            self.failure = self._sender.failure or ChunkMissingTerminator(b"")
        except Exception as error:
            self.failure = self._sender.failure or error
        raise self.failure
