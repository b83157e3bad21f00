"""Asks a new worker whether it is well, on a connection of its own."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor

_MOST_HEAD = 64 * 1024


class HealthCheck:
    """One ``GET path``; calls ``done`` with None for a 200, else with what came instead."""

    def __init__(
        self,
        reactor: Reactor,
        worker: WorkerHandle,
        path: str,
        done: Callable[[str | None], None],
    ) -> None:
        self._reactor = reactor
        self._done = done
        self._received = b""
        self._sock, theirs = socket.socketpair()
        self._sock.setblocking(False)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self._sock.send(request.encode())
        reactor.watch(self._sock.fileno(), select.EPOLLIN, self._on_readable)
        with theirs:
            worker.ask(theirs.fileno())

    def _on_readable(self, _fd: int, _events: int) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        if not data or b"\r\n" in self._received or len(self._received) > _MOST_HEAD:
            self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._done(_verdict(self._received))


def _verdict(response: bytes) -> str | None:
    line = response.partition(b"\r\n")[0].decode("latin-1")
    version, _, status = line.partition(" ")
    if not version.startswith("HTTP/1."):
        return "no answer"
    return None if status.startswith("200") else status
