"""The sockets that an app gets to see: what it can do with them does no harm to others."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any


class Unclosable:
    """A socket that an app cannot close: our descriptor would come to mean another connection.

    We can, by ``socket.socket.close``.
    """

    __slots__ = ()

    def close(self: Any) -> None:
        """End the connection, which is what the app means."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)

    def detach(self: Any) -> int:
        """A descriptor that is the caller's."""
        return os.dup(self.fileno())


class Socket(Unclosable, socket.socket):
    """The socket of a connection."""

    __slots__ = ()

    def dup(self) -> Any:
        """One that is the caller's."""
        return socket.socket(self.family, self.type, self.proto, fileno=self.detach())


class LentSocket(socket.socket):
    """What an app may talk on itself, and close when it likes. Notes whether it does."""

    used = False

    def __getattribute__(self, name: str) -> Any:
        """Whatever can be done with it begins here."""
        if name != "used" and not name.startswith("__"):
            self.used = True
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        """To show it is not to use it: error pages and logs do."""
        return object.__repr__(self)
