"""800 clients that are slow in four ways, in a process of their own.

``python -m tests.alone.slow_clients HOST PORT EACH``. A line on stdin moves it
on: first it connects everybody and says ``connected``, then it goes on dripping
until the next line or the end of input, disconnects all and says how many of
them the server had cut.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable

Address = tuple[str, int]

_PAUSE = 0.5
"""Seconds between two drops of the same client."""

_HEAD = b"GET /echo/x HTTP/1.1\r\nHost: test\r\nX-Slow: "
_BODY = b"POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 60000\r\n\r\n"
_READ = b"GET /big/2000000 HTTP/1.1\r\nHost: test\r\n\r\n"


class Client:
    """One connection; ``drop`` is what it does each time it does something."""

    def __init__(self, address: Address, opening: bytes, drop: Callable[[Client], None]) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.sock.send(opening)
        self._drop = drop
        self.cut = False

    def act(self) -> None:
        """One drop."""
        try:
            self._drop(self)
        except BlockingIOError:
            pass
        except OSError:
            self.cut = True


def idle(client: Client) -> None:
    """Does nothing at all; the first answer stays where it is."""
    if client.sock.recv(1, socket.MSG_PEEK) == b"":
        raise ConnectionError


def send_little(client: Client) -> None:
    """A byte more of a head or a body."""
    client.sock.send(b"x")


def read_little(client: Client) -> None:
    """Some bytes of a response that is far larger than all buffers."""
    if client.sock.recv(600) == b"":
        raise ConnectionError


def connect(address: Address, each: int) -> list[Client]:
    """All of them, mixed."""
    kinds = [
        (b"GET /echo/x HTTP/1.1\r\nHost: test\r\n\r\n", idle),
        (_HEAD, send_little),
        (_BODY, send_little),
        (_READ, read_little),
    ]
    return [Client(address, opening, drop) for _ in range(each) for opening, drop in kinds]


def drip(clients: list[Client]) -> None:
    """Everybody in turn, evenly, until somebody says stop."""
    turn, started = 0, time.monotonic()
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        due = int((time.monotonic() - started) / _PAUSE * len(clients))
        for index in range(turn, min(due, turn + len(clients))):
            clients[index % len(clients)].act()
        turn = due


def main() -> None:
    """Connect and disconnect as often as it is asked to."""
    host, port, each = sys.argv[1:]
    while sys.stdin.readline():
        clients = connect((host, int(port)), int(each))
        print("connected", flush=True)
        drip(clients)
        said = sys.stdin.readline()
        for client in clients:
            client.act()
            client.sock.close()
        print(sum(client.cut for client in clients), flush=True)
        if not said:
            return


if __name__ == "__main__":
    main()
