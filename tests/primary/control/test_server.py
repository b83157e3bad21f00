"""The control socket: nobody can keep it from the others."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from launcher.control.protocol import encode
from launcher.primary.control import server as control
from launcher.primary.control.server import ControlServer
from launcher.primary.reactor import Reactor


def test_who_has_its_reply_and_does_not_go_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_PATIENCE", 0.05)
    reactor = Reactor()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    verbs = {
        "status": lambda _args, reply: reply.done("status"),
        "stop": lambda _args, reply: reply.done("stop"),
    }
    server = ControlServer(reactor, listener, verbs)
    clients = {verb: socket.socket(socket.AF_UNIX) for verb in verbs}
    for verb, client in clients.items():
        client.connect(str(tmp_path / "s"))
        client.sendall(encode({"verb": verb}))
    reactor.call_later(0.5, reactor.stop)
    reactor.run()
    ends = {}
    for verb, client in clients.items():
        client.setblocking(False)
        assert verb.encode() in client.recv(4096)
        try:
            ends[verb] = client.recv(1)
        except BlockingIOError:
            ends[verb] = b"still there"
        client.close()
    assert ends == {"status": b"", "stop": b"still there"}, "the latter waits for our end"
    server.close()
    reactor.close()
