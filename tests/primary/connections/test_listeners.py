"""Listening sockets that are about to be closed."""

from __future__ import annotations

import errno
import select
import socket
from pathlib import Path

import pytest

from launcher.config.settings import parse_bind
from launcher.primary.connections.listeners import Listener, open_listeners

REFUSED_AFTER = 10.0
"""Seconds; the kernel sends a SYN again after one, then after two more."""


def listening(bind: str) -> Listener:
    (listener,) = open_listeners([parse_bind(bind)], 16)
    return listener


def outcome(client: socket.socket, within: float) -> int | None:
    """How connecting ended, as an errno; None when it has not."""
    if not select.select([], [client], [], within)[1]:
        return None
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_who_is_there_comes_in_and_who_comes_then_is_refused_not_reset(bind: str) -> None:
    listener = listening(bind)
    address = listener.sock.getsockname()
    with socket.create_connection(address[:2]) as before:
        listener.admit_no_more()
        with socket.socket(listener.sock.family) as after:
            after.setblocking(False)
            assert after.connect_ex(address) == errno.EINPROGRESS
            assert outcome(after, 0.2) is None
            with listener.sock.accept()[0] as accepted:
                before.sendall(b"here")
                accepted.settimeout(10)
                assert accepted.recv(16) == b"here"
                with pytest.raises(BlockingIOError):
                    listener.sock.accept()
            listener.close()
            assert outcome(after, REFUSED_AFTER) == errno.ECONNREFUSED


def test_a_unix_socket_cannot_be_found_any_more(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = listening(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as before:
        before.connect(str(path))
        listener.admit_no_more()
        assert not path.exists()
        listener.sock.accept()[0].close()
    path.touch()  # by whoever comes next
    listener.close()
    assert path.exists()


def test_a_socket_that_others_have_too_stays_as_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        listener = listening(f"fd://{theirs.dup().detach()}")
        listener.admit_no_more()
        listener.close()
        with socket.create_connection(theirs.getsockname(), timeout=10):
            pass
