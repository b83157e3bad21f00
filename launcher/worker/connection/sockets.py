"""The sockets that an app gets to see: what it can do with them does no harm to others."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any


class Unclosable:
    """A socket that an app cannot close: its descriptor would come to mean another connection.

    We close it by ``socket.socket.close``.
    """

    __slots__ = ()

    def close(self: Any) -> None:
        """Shut the connection down, which is what the app means; the descriptor stays ours."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)

    def detach(self: Any) -> int:
        """A duplicate of the descriptor; the caller owns it."""
        return os.dup(self.fileno())


class Socket(Unclosable, socket.socket):
    """The socket of a connection."""

    __slots__ = ()

    def dup(self) -> Any:
        """A duplicate of the socket; the caller owns it."""
        return socket.socket(self.family, self.type, self.proto, fileno=self.detach())


class LentSocket(socket.socket):
    """A socket that an app may use and close as it likes. Notes whether the app uses it."""

    used = False

    def __getattribute__(self, name: str) -> Any:
        """Note the use: every use of a socket begins with an attribute."""
        if name != "used" and not name.startswith("__"):
            self.used = True
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        """Without a use: error pages and logs show sockets."""
        return object.__repr__(self)
