"""The user at the other end of a control socket: only this user and root may talk here."""

import os
import socket
import struct

__all__ = ["is_ours", "user_of"]

_UCRED = struct.Struct("iII")
"""``struct ucred`` of unix(7), SO_PEERCRED: the process, the user, the group."""


def user_of(sock: socket.socket) -> int:
    """The user id of the process that connected, or listens."""
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


def is_ours(user: int) -> bool:
    """Whether it is this user, or root."""
    return user in (0, os.geteuid())
