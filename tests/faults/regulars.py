"""Clients that keep their connections and ask again and again, until they are told to close."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from tests.http.wire import Response, Wire, head

SLEEPS = (0.0, 0.02, 0.2)
"""Seconds that the app takes for a request; each client has one of them."""

SLOWEST = max(SLEEPS)


@dataclass
class Fates:
    """What became of the clients. One that is still asking is in none of these."""

    told: int = 0
    """Answered with ``Connection: close``, then the end of the connection."""
    lost: list[str] = field(default_factory=list)
    """A request without its answer, or an end that no answer had announced."""
    kept: int = 0
    """Answered to the last, on the first connection."""
    answers: int = 0


class Regulars:
    """So many clients with a thread and a connection each; every other one sends POSTs."""

    def __init__(
        self, address: tuple[str, int] | str, number: int = 20, tls: ssl.SSLContext | None = None
    ) -> None:
        self.fates = Fates()
        self._wires = [Wire(address, tls=tls) for _ in range(number)]
        self._answers = [0] * number
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        for wire in self._wires:
            wire.close()

    def busy(self) -> bool:
        """Whether every client has had an answer or two, or something has gone wrong."""
        return min(self._answers) > 1 or bool(self.fates.lost)

    def leave(self) -> Fates:
        """Have those that still ask finish their request."""
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads), "clients hang"
        self.fates.answers = sum(self._answers)
        return self.fates

    def until_all_are_gone(self, within: float) -> Fates:
        """Wait until no client asks any more, of its own accord."""
        deadline = time.monotonic() + within
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return self.leave()

    def _ask(self, index: int) -> None:
        told = False
        try:
            while not told and not self._enough.is_set():
                response = self._once(index)
                assert response.status == 200
                self._answers[index] += 1
                told = response.closes
            if told:
                self._wires[index].is_closed()
        except (OSError, EOFError, AssertionError) as error:
            with self._lock:
                self.fates.lost.append(f"client {index}: {error!r}")
            return
        with self._lock:
            self.fates.told += told
            self.fates.kept += not told

    def _once(self, index: int) -> Response:
        path = f"/echo/{index}-{self._answers[index]}?sleep={SLEEPS[index % len(SLEEPS)]}"
        wire = self._wires[index]
        if index % 2:
            return wire.send(head("POST", path, "Content-Length: 4") + b"body").response()
        return wire.ask(path)
