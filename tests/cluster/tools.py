"""A client that sees one connection at a time, and what /proc tells about processes."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Address = tuple[str, int] | str
"""Of TCP, or the path of a unix socket."""

_TICKS = os.sysconf("SC_CLK_TCK")

_ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
master, slave = os.openpty()
os.set_inheritable(master, True)
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
WITH_TERMINAL = (sys.executable, "-c", _ON_A_TERMINAL)
WITH_NOHUP = (*WITH_TERMINAL, "nohup")
WITHOUT_TERMINAL = ("setsid",)
"""Prefixes of a command: what its controlling terminal is, and whether it is to outlive that."""


@dataclass(frozen=True)
class Reply:
    """A whole response. ``fields`` have lower-case names."""

    status: int
    fields: dict[str, str]
    text: str


class Request:
    """A GET on a connection of its own, already sent; `reply` waits for the answer.

    With ``keep`` the connection can be used for another one with `again`.
    """

    def __init__(
        self,
        address: Address,
        path: str = "/clustered",
        *,
        source: str = "",
        keep: bool = False,
        timeout: float = 30,
        fields: str = "",
    ) -> None:
        """``fields``: more of the request's head, lines with their ends."""
        self._sock = _connect(address, source, timeout)
        self._file = self._sock.makefile("rb")
        self._keep = keep
        self._fields = fields
        try:
            self.again(path)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def again(self, path: str) -> None:
        """Send another request on the same connection."""
        fields = "Host: test\r\n" if self._keep else "Host: test\r\nConnection: close\r\n"
        self._sock.sendall(f"GET {path} HTTP/1.1\r\n{fields}{self._fields}\r\n".encode())

    def reply(self) -> Reply:
        """The answer. EOFError when the connection ends before it is complete."""
        status = self._line().split(" ")[1]
        fields = {}
        while line := self._line():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        size = int(fields["content-length"])
        body = self._file.read(size)
        if len(body) < size:
            raise EOFError(f"{len(body)} of {size} bytes")
        return Reply(int(status), fields, body.decode())

    def until_closed(self) -> None:
        """Read until the server has closed the connection; nothing may follow the answer."""
        rest = self._file.read()
        assert rest == b""

    def close(self) -> None:
        """Close the connection, answered or not."""
        self._file.close()
        self._sock.close()

    def reset(self) -> None:
        """Close the connection at once and for both directions, as a client that is killed."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"a head that ends with {line!r}")
        return line[:-2].decode("latin-1")


def _connect(address: Address, source: str, timeout: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout, (source, 0) if source else None)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def get(address: Address, path: str = "/clustered", *, source: str = "") -> Reply:
    """Ask once, on a connection of its own that the server has closed afterwards."""
    with Request(address, path, source=source) as request:
        reply = request.reply()
        request.until_closed()
        return reply


def worker_of(reply: Reply) -> int:
    """The id in the answer of /clustered."""
    assert reply.status == 200, reply
    return int(reply.text.rpartition("#")[2])


def ask(address: Address, *, source: str = "") -> int:
    """The id of the worker that answers one connection."""
    return worker_of(get(address, source=source))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def session(leader: int) -> list[int]:
    """The processes, zombies included, of the session that ``leader`` began."""
    return [pid for pid in _all_pids() if _stat_field(pid, 3) == str(leader)]


def zombies_below(pid: int) -> list[int]:
    """The children of ``pid`` whose end nobody has collected."""
    return [
        child
        for child in _all_pids()
        if _stat_field(child, 1) == str(pid) and _stat_field(child, 0) == "Z"
    ]


def _all_pids() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat_field(pid: int, index: int) -> str:
    """A field of /proc/PID/stat after the name: 0 state, 1 parent, 3 session (proc(5))."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[index]
    return ""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, for where 0 will not do."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def can_be_bound(address: tuple[str, int]) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen()
        except OSError:
            return False
        return True


def forks_in(log: Path) -> list[float]:
    """When processes were forked; monotonic time, which all processes share."""
    return sorted(map(float, log.read_text().split()))
