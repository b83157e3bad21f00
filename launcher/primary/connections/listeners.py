"""The sockets that the world connects to. Only the primary opens and closes them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable

from launcher.config.settings import BindAddress
from launcher.errors import LauncherError
from launcher.primary.connections import unix_socket
from launcher.primary.connections.unix_socket import ALL, EVERYBODY, Access
from launcher.primary.processes.pool_process import FOR_PRIMARY

_SYSTEMD_FIRST_FD = 3  # sd_listen_fds(3)

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h

_NO_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # the octet of the flags (RFC 9293 section 3.1)
        (0x54, 0, 0, 0x12),  # of these ACK and SYN
        (0x15, 0, 1, 0x02),  # SYN alone:
        (0x06, 0, 0, 0),  # dropped
        (0x06, 0, 0, 0xFFFFFFFF),  # all else: taken whole
    )
)
"""A classic BPF program (socket(7), SO_ATTACH_FILTER) that drops what begins a connection."""


class Listener:
    """A listening socket; ``address`` is what it is bound to, as users write it.

    ``shared``: the socket was inherited, so another process (systemd, a shell) has it too.
    ``unlink``: the file of a unix socket that was opened here; ``access``: which users may
    connect to that file.
    """

    def __init__(
        self,
        sock: socket.socket,
        unlink: str | None = None,
        shared: bool = False,
        access: Access = ALL,
    ) -> None:
        self.sock = sock
        self.address = _text(sock)
        self._unlink = unlink
        self._inode = os.stat(unlink).st_ino if unlink else 0
        self._shared = shared
        self._access = access

    def admit(self, umask: int, uid: int, gid: int) -> None:
        """Gunicorn's configuration is known: open a unix socket to the users that may connect.

        Raises OSError.
        """
        if self._unlink:
            access = self._access.completed(EVERYBODY & ~umask, uid, gid)
            unix_socket.admit(self._unlink, self._inode, access)

    def admit_no_more(self) -> None:
        """Let no client begin to connect; those that have begun still come in.

        Closing alone would reset a client that connects between the last accept(2) and
        close(2). A client whose SYN is dropped sends it again after a second, and is refused if
        no process listens by then. A shared socket stays as it is.
        """
        if self._unlink:
            self._remove_file()
        elif not self._shared:
            program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
            fprog = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
            with contextlib.suppress(OSError):  # not allowed here: then closing has to do
                self.sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)

    def close(self) -> None:
        """Close it; a unix socket's file goes too, if it is still ours."""
        self.sock.close()
        self._remove_file()

    def _remove_file(self) -> None:
        path, self._unlink = self._unlink, None
        if path:
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == self._inode:
                    os.unlink(path)


def open_listeners(
    addresses: Iterable[BindAddress],
    backlog: int,
    access: Access = ALL,
    neighbour: Callable[[BindAddress], str | None] = lambda _: None,
    other: str = "--port or --bind",
) -> list[Listener]:
    """Listen on every address; what systemd passed (LISTEN_FDS) comes first.

    ``access``: which users may connect to unix sockets. ``neighbour``: the name of the cluster
    that has an address, where it is one of this user's. ``other``: the options that
    choose another address. Raises LauncherError, with nothing left
    open, when one of them cannot be had.
    """
    listeners = _from_systemd(backlog)
    if listeners:
        return listeners
    try:
        for address in addresses:
            listeners.append(_open(address, backlog, access))
    except OSError as error:
        for listener in listeners:
            listener.close()
        owner = neighbour(address) if error.errno == errno.EADDRINUSE else None
        why = _explain(error, address, owner, other)
        raise LauncherError(f"cannot listen on {address}: {why}") from None
    return listeners


def _from_systemd(backlog: int) -> list[Listener]:
    pid, count, _ = (os.environ.pop(name, "") for name in FOR_PRIMARY)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_adopt(_SYSTEMD_FIRST_FD + index, backlog) for index in range(int(count))]


def _open(address: BindAddress, backlog: int, access: Access) -> Listener:
    if address.kind == "fd":
        return _adopt(address.fd, backlog)
    if address.kind == "unix":
        return _open_unix(address.path, backlog, access)
    family, _, _, _, target = socket.getaddrinfo(
        address.host or None,
        address.port,
        socket.AF_INET6 if address.kind == "tcp6" else socket.AF_INET,
        socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        return _listen(sock, backlog)
    except BaseException:
        sock.close()
        raise


def _open_unix(path: str, backlog: int, access: Access) -> Listener:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unix_socket.bind(sock, path, access)
        return _listen(sock, backlog, unlink=path, access=access)
    except BaseException:
        sock.close()
        raise


def _remove_stale(path: str) -> None:
    """Remove the socket file of a server that is gone; leave everything else alone."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # one that does not accept is there all the same
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            except BlockingIOError:
                pass


def _adopt(fd: int, backlog: int) -> Listener:
    sock = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise OSError(errno.ESOCKTNOSUPPORT, "not a stream socket")
    return _listen(sock, backlog, shared=True)


def _listen(
    sock: socket.socket,
    backlog: int,
    unlink: str | None = None,
    shared: bool = False,
    access: Access = ALL,
) -> Listener:
    if sock.family != socket.AF_UNIX:
        # Inherited by every accepted socket (tcp(7)): no system call per connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.listen(backlog)
    sock.setblocking(False)
    return Listener(sock, unlink, shared, access)


def _text(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    if sock.family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"unix:{os.fsdecode(name)}"


def _explain(error: OSError, address: BindAddress, owner: str | None, other: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}: no such host"
    if owner:
        return (
            f"cluster {owner!r} has it: python -m launcher stop {owner},"
            f" or choose another with {other}"
        )
    if error.errno == errno.EADDRINUSE:
        return f"it is in use; stop what uses it, or choose another with {other}"
    if error.errno == errno.EACCES and address.kind != "unix":
        return f"permission denied; ports below 1024 need privileges, choose another with {other}"
    return (error.strerror or str(error)).lower()
