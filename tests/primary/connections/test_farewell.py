"""Last words: a connection that is cut ends at once, whoever else holds it."""

from __future__ import annotations

import os
import socket

import pytest

from launcher.primary.connections.farewell import Farewell
from launcher.primary.reactor import Reactor


def test_a_cut_is_a_reset_though_a_child_of_the_app_holds_the_connection() -> None:
    reactor = Reactor()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=5)
        ours, _ = listener.accept()
    with client, ours:
        Farewell(reactor, most=1).cut(os.dup(ours.fileno()))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    reactor.close()


def test_where_there_are_no_resets_it_just_ends() -> None:
    reactor = Reactor()
    client, ours = socket.socketpair()
    client.settimeout(5)
    with client, ours:
        Farewell(reactor, most=1).cut(os.dup(ours.fileno()))
        assert client.recv(1) == b""
    reactor.close()
