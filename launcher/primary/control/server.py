"""Answers the command line over ``control.sock``. The protocol is ``control/protocol.py``."""

from __future__ import annotations

import select
import socket
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from launcher.control.peer import is_ours, user_of
from launcher.control.protocol import (
    MAX_REQUEST,
    encode,
    ok,
    parse_request,
    refused,
)
from launcher.errors import LauncherError
from launcher.primary.log import write
from launcher.primary.reactor import Reactor, Timer


class Answer:
    """What a client waits for; given once, now or later. It can be the `Outcome` of a change."""

    def __init__(self, give: Callable[[dict[str, Any]], None]) -> None:
        self._give = give

    def done(self, result: Any) -> None:
        """What the client asked for is done; ``result`` are plain JSON values."""
        self._give(ok(result))

    def refused(self, message: str, detail: str = "") -> None:
        """What the client asked for is not done.

        ``message`` is one line; ``detail`` is shown before it.
        """
        self._give(refused(message, detail=detail))


Verb = Callable[[Mapping[str, Any], Answer], None]
"""Carries out a verb. Raises LauncherError, instead of answering, to refuse it at once."""

MOST_CLIENTS = 64
_PAUSE = 0.1
"""Seconds without accepting when there was no room for one more."""
_PATIENCE = 10.0
"""Seconds that a client gets to send its request and to read the reply."""


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.to_send = b""
        self.asked = False
        self.stays = False
        """Whether the client waits for the end of the cluster, not only for the reply."""
        self.patience: Timer | None = None
        """Hangs up when the client takes too long."""


class ControlServer:
    """Serves the clients of the control socket: one request and one reply each.

    A client that asked for the cluster's end is kept until the server closes, so that it can
    wait for ours; the others get a moment to read their reply.
    """

    def __init__(self, reactor: Reactor, sock: socket.socket, verbs: Mapping[str, Verb]) -> None:
        self._reactor = reactor
        self._sock = sock
        self._verbs = verbs
        self._clients: dict[int, _Client] = {}
        sock.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Hang up on all clients: those that wait for the end of the cluster learn it so."""
        for fd in list(self._clients):
            self._hang_up(fd)
        self._reactor.forget(self._sock.fileno())
        self._sock.close()

    def move_to(self, sock: socket.socket) -> None:
        """Listen on this socket instead. Clients that have connected already are served."""
        self._reactor.forget(self._sock.fileno())
        self._sock.close()
        self._sock = sock
        sock.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        if self._sock.fileno() >= 0:  # else: closed meanwhile
            self._reactor.forget(self._sock.fileno())  # it may have come to another one
            self._reactor.watch(self._sock.fileno(), select.EPOLLIN, self._on_connect)

    def _on_connect(self, fd: int, _events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor to be had: it stays readable, so polling on would spin
            self._reactor.forget(fd)
            self._reactor.call_later(_PAUSE, self._listen)
            return
        if len(self._clients) >= MOST_CLIENTS or not is_ours(user_of(sock)):
            sock.close()
            return
        sock.setblocking(False)
        fd = sock.fileno()
        client = self._clients[fd] = _Client(sock)
        self._reactor.watch(fd, select.EPOLLIN, self._on_event)
        self._wait_for(fd, client)

    def _wait_for(self, fd: int, client: _Client) -> None:
        """Give the client `_PATIENCE` to send its request, or to read the reply."""
        client.patience = self._reactor.call_later(_PATIENCE, lambda: self._hang_up(fd))

    def _on_event(self, fd: int, events: int) -> None:
        client = self._clients[fd]
        if events & select.EPOLLHUP:
            # The client has given up, perhaps because this process was stopped (SIGSTOP): it has
            # told its user that the request cannot be done, so it must not be done now.
            self._hang_up(fd)
            return
        try:
            if client.to_send:
                self._send(fd, client)
            else:
                self._receive(fd, client)
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(fd)

    def _receive(self, fd: int, client: _Client) -> None:
        data = client.sock.recv(MAX_REQUEST + 1)
        if not data or client.asked:
            self._hang_up(fd)
            return
        client.received += data
        if b"\n" in client.received or len(client.received) > MAX_REQUEST:
            client.asked = True
            if client.patience:
                client.patience.cancel()
            self._answer(fd, client, client.received.partition(b"\n")[0])

    def _send(self, fd: int, client: _Client) -> None:
        try:
            sent = client.sock.send(client.to_send)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._hang_up(fd)
            return
        client.to_send = client.to_send[sent:]
        self._reactor.change(fd, select.EPOLLOUT if client.to_send else select.EPOLLIN)

    def _answer(self, fd: int, client: _Client, line: bytes) -> None:
        def give(answer: dict[str, Any]) -> None:
            if self._clients.get(fd) is client:  # else: it did not wait for it
                client.to_send = encode(answer)
                if not client.stays:
                    self._wait_for(fd, client)
                self._send(fd, client)

        try:
            request = parse_request(line)
            client.stays = request.verb == "stop"
            self._verbs[request.verb](request.args, Answer(give))
        except LauncherError as error:
            give(refused(str(error), error.exit_status))
        except Exception:  # no line that a client sends ends the cluster
            write(traceback.format_exc())
            give(refused("a defect of the launcher; the cluster's log has the traceback"))

    def _hang_up(self, fd: int) -> None:
        client = self._clients.pop(fd)
        self._reactor.forget(fd)
        if client.patience:
            client.patience.cancel()
        client.sock.close()
