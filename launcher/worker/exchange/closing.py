"""Which answers say ``Connection: close``, because the worker or the whole cluster leaves.

A connection must not end behind an answer that has promised to go on: its client may
have the next request on its way (RFC 9112 section 9.6). So this is decided as late as
possible: when the head of an answer goes out, not when its request begins.
"""

from __future__ import annotations

from launcher.worker.connection.connection import Connection

_KEEPS = b"\r\nConnection: keep-alive\r\n"
_CLOSES = b"\r\nConnection: close\r\n"


class Closing:
    """What the answers of one worker say. Only ever stricter; for all of its threads."""

    __slots__ = ("_all", "begun")

    def __init__(self) -> None:
        self.begun = False
        """Whether any answer has to close. A worker that stays asks only this."""
        self._all = False

    def end_all(self) -> None:
        """Every answer is the last on its connection: the cluster stops."""
        self._all = True
        self.begun = True

    def end_what_cannot_travel(self) -> None:
        """Only this worker leaves: another goes on with the connections that can travel."""
        self.begun = True

    def ends(self, conn: Connection) -> bool:
        """Whether an answer that is sent now is the last on its connection."""
        return self.begun and (self._all or conn.secure or not conn.kept)


def told_to_close(answer: bytes) -> bytes:
    """A whole answer that began with `ResponseHeads.first_lines`, as one that closes."""
    return answer.replace(_KEEPS, _CLOSES, 1)
