"""The status address: HTTP for probes, which clients that stay silent cannot keep out."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from launcher.primary.connections.listeners import Listener
from launcher.primary.insight.status_server import MOST_CLIENTS, Page, StatusServer, respond
from tests.fakes import FakeReactor

PAGES = {"/livez": lambda _: Page("alive\n"), "/large": lambda _: Page("x" * 8_000_000)}


@pytest.mark.parametrize(
    ("head", "status", "body"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: any", b"200 OK", b"alive\n"),
        (b"GET /livez HTTP/1.0", b"200 OK", b"alive\n"),
        (b"GET /livez?verbose HTTP/1.1", b"200 OK", b"alive\n"),
        (b"HEAD /livez HTTP/1.1", b"200 OK", b""),
        (b"POST /livez HTTP/1.1", b"405 Method Not Allowed", b"Method Not Allowed\n"),
        (b"GET / HTTP/1.1", b"404 Not Found", b"Not Found\n"),
        (b"GET /../livez HTTP/1.1", b"404 Not Found", b"Not Found\n"),
        (b"GET /livez%0d%0aX: 1 HTTP/1.1", b"400 Bad Request", b"Bad Request\n"),
        (b"GET /livez", b"400 Bad Request", b"Bad Request\n"),
        (b"GET /livez HTTP/2.0", b"400 Bad Request", b"Bad Request\n"),
        (b"", b"400 Bad Request", b"Bad Request\n"),
        (b"\xff\xfe\x00", b"400 Bad Request", b"Bad Request\n"),
    ],
)
def test_a_request_and_its_response(head: bytes, status: bytes, body: bytes) -> None:
    first, _, rest = respond(head, PAGES).partition(b"\r\n")
    fields, _, told = rest.partition(b"\r\n\r\n")
    assert (first, told) == (b"HTTP/1.1 " + status, body)
    assert (b"Allow: GET, HEAD" in fields) == status.startswith(b"405")
    assert b"Connection: close" in fields


def test_head_tells_the_length_that_get_has() -> None:
    assert b"Content-Length: 6\r\n" in respond(b"HEAD /livez HTTP/1.1", PAGES)


class Served:
    """A server on a port, and its clients."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        self.address = sock.getsockname()
        self.server = StatusServer(self.reactor, Listener(sock), PAGES)
        self.clients: list[socket.socket] = []

    def connect(self, data: bytes = b"") -> socket.socket:
        """A client that has sent this, and been heard."""
        client = socket.create_connection(self.address)
        client.setblocking(False)
        self.clients.append(client)
        self.reactor.look()
        if data:
            client.sendall(data)
            self.reactor.look()
        return client

    def close(self) -> None:
        """End all."""
        self.server.close()
        self.reactor.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.close()


def test_silent_clients_keep_no_probe_out_and_are_sent_away(served: Served) -> None:
    silent = [served.connect() for _ in range(3 * MOST_CLIENTS)]
    assert served.connect(b"GET /livez HTTP/1.1\r\n\r\n").recv(65536).endswith(b"alive\n")
    assert silent[0].recv(1) == b"", "the oldest has given way"
    with pytest.raises(BlockingIOError):
        silent[-1].recv(1)
    served.reactor.advance(5.1)
    assert silent[-1].recv(1) == b"", "its time is up"


def test_a_request_may_come_in_pieces(served: Served) -> None:
    client = served.connect(b"GET /livez HT")
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.sendall(b"TP/1.1\r\n\r\n")
    served.reactor.look()
    assert client.recv(65536).endswith(b"alive\n")


def test_a_head_that_does_not_end_is_refused(served: Served) -> None:
    client = served.connect(b"GET /livez HTTP/1.1\r\nX: " + b"x" * 9000)
    assert client.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_a_body_that_is_not_wanted_does_not_reset_the_connection(served: Served) -> None:
    client = served.connect(b"POST /livez HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
    client.sendall(b"x" * 100_000)
    served.reactor.look()
    assert client.recv(65536).startswith(b"HTTP/1.1 405 ")
    assert client.recv(65536) == b""


def test_a_client_that_does_not_read_is_sent_away_and_the_others_are_answered(
    served: Served,
) -> None:
    lazy = served.connect(b"GET /large HTTP/1.1\r\n\r\n")
    assert served.connect(b"GET /livez HTTP/1.1\r\n\r\n").recv(65536).endswith(b"alive\n")
    served.reactor.advance(5.1)
    lazy.setblocking(True)
    size = 0
    while data := lazy.recv(1 << 20):
        size += len(data)
    assert 0 < size < 8_000_000


def test_a_large_page_is_read_to_its_end(served: Served) -> None:
    client = served.connect(b"GET /large HTTP/1.1\r\n\r\n")
    received = b""
    while not received.endswith(b"x" * 10) or len(received) < 8_000_000:
        try:
            received += client.recv(1 << 20)
        except BlockingIOError:
            served.reactor.look()
    assert received.partition(b"\r\n\r\n")[2] == b"x" * 8_000_000
