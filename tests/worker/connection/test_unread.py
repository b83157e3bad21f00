"""Clients that do not read, in front of a crew: who waits, who is cut, and what is whole."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import launcher.policy.serving.unread
import launcher.worker.connection.unread
from launcher.ipc.messages import Cut
from launcher.policy.serving.patience import Patience
from launcher.worker.connection.unread import Unread
from launcher.worker.serving.service import Service
from tests.support import eventually
from tests.worker.threads.test_crew import REQUEST, THREADS, Company, in_a_minute

KB, MB = 1 << 10, 1 << 20
PIECE = 100 * KB
SMALL_WINDOW = 16 * KB

PLENTY = 12 * MB
"""What the kernel keeps of a connection, at most (tcp(7), tcp_wmem and tcp_rmem), and more."""


def asking(path: str) -> bytes:
    return REQUEST.replace(b"/", path.encode(), 1)


class Theatre(Company):
    """A company whose app answers with as much as it is told, in one piece or streamed."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.yielded = 0
        super().__init__()

    @property
    def unread(self) -> Unread:
        unread: Unread = self.crew._service._unread
        return unread

    def app(self, environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        kind, size = environ["PATH_INFO"].strip("/").split("/")
        start("200 OK", [("Content-Length", size)])
        return [b"x" * int(size)] if kind == "big" else self.pieces(int(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = b"x" * min(size, PIECE)
            self.yielded += len(piece)
            size -= len(piece)
            yield piece

    def ask(self, serial: int, path: str) -> socket.socket:
        """A client that asks and reads nothing by itself."""
        client = self.deal(serial, asking(path))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
        return client


@pytest.fixture
def theatre() -> Iterator[Theatre]:
    theatre = Theatre()
    yield theatre
    theatre.crew.retire(final=True)
    eventually(theatre.crew.leave_if_idle)
    theatre.close()


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For less than two responses of 6 MB in a worker, and no patience."""
    for module in (launcher.policy.serving.unread, launcher.worker.connection.unread):
        monkeypatch.setattr(module, "MOST", 5 * MB)
    monkeypatch.setattr(launcher.policy.serving.unread, "GRACES", ((1.0, 0.0),))


def whole(client: socket.socket, size: int) -> bool:
    """Read a response as fast as can be, and see that it is complete."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MB)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, "no response"
        received += piece
    left = size - len(received.partition(b"\r\n\r\n")[2])
    while left:
        piece = client.recv(1 << 20)
        assert piece, f"{left} bytes are missing"
        left -= len(piece)
    return left == 0


@pytest.mark.parametrize("kind", ["big", "stream"])
def test_beyond_its_share_the_app_waits_for_its_client(theatre: Theatre, kind: str) -> None:
    size = 40 * MB
    with theatre.ask(1, f"/{kind}/{size}") as client:
        eventually(lambda: theatre.unread._staying == 1)
        assert theatre.unread.total <= 17 * MB
        assert theatre.yielded <= 17 * MB + PLENTY
        with theatre.ask(2, "/big/5") as other:
            assert whole(other, 5)
        assert whole(client, size)
        client.sendall(asking("/big/5"))
        assert whole(client, 5)
    eventually(lambda: theatre.unread.total == 0)


def test_the_time_that_the_client_takes_is_not_the_apps(theatre: Theatre) -> None:
    size = 40 * MB
    with theatre.ask(1, f"/stream/{size}") as client:
        eventually(lambda: theatre.unread._staying == 1)
        for _ in range(3):
            assert theatre.crew.end_overdue(in_a_minute()) is None
        assert whole(client, size)


@pytest.mark.parametrize("kind", ["big", "stream"])
def test_a_thread_does_not_stay_for_who_has_stopped_reading(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(Service, "patience", Patience(body=60.0, silence=0.5))
    theatre = Theatre()
    with theatre.ask(1, f"/{kind}/{40 * MB}"):
        eventually(lambda: theatre.said == [Cut(1)])
        assert (theatre.unread._staying, theatre.unread.total) == (0, 0)
    theatre.crew.retire(final=True)
    eventually(theatre.crew.leave_if_idle)
    theatre.close()


def test_a_thread_does_not_stay_for_who_reads_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "patience", Patience(body=0.5, slowest=1e9))
    theatre = Theatre()
    with theatre.ask(1, f"/stream/{40 * MB}"):
        eventually(lambda: theatre.said == [Cut(1)])
    theatre.crew.retire(final=True)
    eventually(theatre.crew.leave_if_idle)
    theatre.close()


def test_a_client_that_leaves_lets_its_thread_go(theatre: Theatre) -> None:
    with theatre.ask(1, f"/big/{40 * MB}"):
        eventually(lambda: theatre.unread._staying == 1)
    eventually(lambda: theatre.unread._staying == 0)
    eventually(lambda: theatre.unread.total == 0)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("kind", ["big", "stream"])
def test_over_the_sum_clients_that_do_not_read_are_cut(theatre: Theatre, kind: str) -> None:
    size = 6 * MB + PLENTY
    clients = []
    for serial in range(1, 7):
        clients.append(theatre.ask(serial, f"/{kind}/{size}"))
        with theatre.ask(100 + serial, "/big/5") as other:
            assert whole(other, 5)
    eventually(lambda: len([said for said in theatre.said if isinstance(said, Cut)]) >= 4)
    assert theatre.unread.total <= 5 * MB + THREADS * 512 * KB
    for client in clients:
        client.close()


def test_threads_that_stay_look_after_the_others(theatre: Theatre) -> None:
    """All of them stay, and nobody waits for events; who reads gets on all the same."""
    size = 12 * MB
    with theatre.ask(1, f"/big/{size}") as reads:
        eventually(lambda: theatre.unread.total > 0)
        stay = [theatre.ask(serial, f"/stream/{60 * MB}") for serial in range(2, 2 + THREADS)]
        eventually(lambda: theatre.unread._staying == THREADS)
        assert whole(reads, size)
        for client in stay:
            client.close()


def test_memory_is_given_back_behind_large_responses(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(launcher.worker.connection.unread, "give_back", lambda: given.append(1))
    theatre.crew.expire(1000.0)
    assert given == []
    with theatre.ask(1, f"/big/{MB}") as client:
        assert whole(client, MB)
    theatre.crew.expire(1001.0)
    theatre.crew.expire(1100.0)
    assert given == [1], "once, and not again while there is nothing new"
