"""Single questions to a server: does it answer, and which of its processes do."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import time
from collections.abc import Iterator

PATIENCE = 0.5
"""Seconds until an answer is given up."""

BATCH = 8
"""Connections at a time: one after the other, the same worker might take them all."""

_STATUS_200 = re.compile(rb"HTTP/1\.[01] 200 ")


def ask(port: int, path: str) -> bool:
    """Whether a new connection gets a 200."""
    return any(_STATUS_200.match(answer) for answer in answers(port, path, 1))


def wait_for_workers(
    port: int, workers: int, without: frozenset[int], within: float
) -> set[int] | None:
    """Ask until ``workers`` different processes have answered that are not in ``without``."""
    deadline = time.monotonic() + within
    found: set[int] = set()
    while time.monotonic() < deadline:
        for pid in pids(port):
            found |= {pid} - without
            if len(found) >= workers:
                return found
        time.sleep(0.001)
    return None


def pids(port: int, connections: int = BATCH) -> Iterator[int]:
    """Of the processes that answer so many new connections, as they answer."""
    for answer in answers(port, "/whoami", connections):
        pid = pid_in(answer)
        if pid is not None:
            yield pid


def answers(port: int, path: str, connections: int) -> Iterator[bytes]:
    """Whole answers to as many new connections, in the order in which they come.

    Those that do not come in time, or come in part, are left out or come in part.
    """
    with selectors.DefaultSelector() as waiting:
        for _ in range(connections):
            if connection := send(port, path):
                waiting.register(connection, selectors.EVENT_READ, bytearray())
        try:
            yield from _as_they_come(waiting, time.monotonic() + PATIENCE)
        finally:
            for key in list(waiting.get_map().values()):
                _done(waiting, key)


def _as_they_come(waiting: selectors.BaseSelector, deadline: float) -> Iterator[bytes]:
    while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            if not _receive(key):
                _done(waiting, key)
                yield bytes(key.data)


def _receive(key: selectors.SelectorKey) -> bool:
    """Add what has come to what came before; False at the end."""
    assert isinstance(key.fileobj, socket.socket)
    try:
        part = key.fileobj.recv(65536)
    except BlockingIOError:
        return True
    except OSError:
        return False
    key.data.extend(part)
    return bool(part)


def _done(waiting: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    assert isinstance(key.fileobj, socket.socket)
    waiting.unregister(key.fileobj)
    key.fileobj.close()


def send(port: int, path: str) -> socket.socket | None:
    """A new connection with one request on its way; None when there is nobody."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    except OSError:
        return None
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        connection.sendall(request.encode())
    connection.setblocking(False)
    return connection


def pid_in(response: bytes) -> int | None:
    """The pid in an answer of /whoami."""
    head, _, body = response.partition(b"\r\n\r\n")
    if not _STATUS_200.match(head):
        return None
    try:
        return int(json.loads(body)["pid"])
    except (ValueError, KeyError, TypeError):
        return None
