"""What the primary says to a worker: connections to serve, and orders."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import (
    Deal,
    Deals,
    Drain,
    Listen,
    Reopen,
    Resume,
    Retire,
    Returned,
    Share,
    Shed,
)
from launcher.ipc.records import decode
from launcher.pool.orders import Orders
from launcher.worker.connection.connection import Connection
from launcher.worker.connection.parking import Parking
from launcher.worker.connection.secure import SecureConnection
from launcher.worker.connection.sockets import Socket
from launcher.worker.request.proxied import client
from launcher.worker.serving.line import Line
from launcher.worker.serving.queue import Queue
from launcher.worker.serving.service import Service
from launcher.worker.threads.accepting import Accepting


class Inbox:
    """The worker's end of its channel. For any thread that has an event for it."""

    def __init__(
        self,
        orders: Orders,
        line: Line,
        channel: Channel,
        parking: Parking,
        service: Service,
        queue: Queue,
        accepting: Accepting,
        *,
        secure: bool,
        first_wait: float,
        retire: Callable[[bool], None],
    ) -> None:
        """``secure``: connections speak TLS. ``first_wait``: seconds that a new client has for its
        request. ``retire`` as in `Retire`."""
        self.orphaned = False
        """Whether the primary is gone."""
        self._line = line
        self._channel = channel
        self._parking = parking
        self._service = service
        self._queue = queue
        self._accepting = accepting
        self._secure = secure
        self._first_wait = first_wait
        self._retire = retire
        self._row = orders.row
        self._families = [_family(address) for address in orders.addresses]
        self._receiving = threading.Lock()
        self._closed = False

    @property
    def fd(self) -> int:
        """Readable while something has come."""
        return self._channel.fd

    def close_if(self, at_rest: Callable[[], bool]) -> bool:
        """Close, if ``at_rest`` says so while nothing is received: what comes later is returned."""
        with self._receiving:
            self._closed = at_rest()
        return self._closed

    def receive(self) -> None:
        """Do what the primary has said."""
        if not self._receiving.acquire(blocking=False):
            return  # a leader that was held up is receiving; the epoll reports again what it leaves
        try:
            while received := self._channel.receive():
                self._heard(decode(received[0]), received[1])
        except ChannelClosed:
            self._parking.ignore(self._channel.fd)
            self.orphaned = True
            self._line.wake()
        finally:
            self._receiving.release()

    def _heard(self, message: Any, descriptors: list[int]) -> None:
        match message:
            case Deals(deals):
                self._row.taken += len(deals)
                for deal, descriptor in zip_longest(deals, descriptors):
                    self._take(deal, descriptor)
            case Drain():
                self._service.leaving.closing.end_all()
            case Retire(final):
                self._retire(final)
            case Resume():
                self._service.leaving.paused = False
            case Share(number):
                self._service.share(number)
            case Shed(number):
                self._service.shed(number)
            case Listen():
                self._accepting.begin(descriptors)
            case Reopen():
                self._line.reopen_logs(descriptors)

    def _take(self, deal: Deal, descriptor: int | None) -> None:
        if descriptor is None or self._closed:  # no descriptor is free here (MSG_CTRUNC), or closed
            self._line.tell(Returned(deal.serial, deal.since))
            if descriptor is not None:
                os.close(descriptor)
            return
        serial, written, consumed, listener, port, first, since, host, text = deal
        # With family, type and protocol given, Python asks the kernel for no option.
        family = self._families[listener]
        sock = Socket(family, socket.SOCK_STREAM, 0, fileno=descriptor)
        # The primary asks whether we are well (serial 0) without TLS.
        kind = SecureConnection if self._secure and serial else Connection
        conn = kind(sock, serial, listener, host, port, written, consumed)
        if text:
            conn.client.introduce(text, client(text))
        conn.deadline = time.monotonic() + self._first_wait
        if since:
            self._queue.put(conn, since)
        self._parking.enter(conn, first)


def _family(address: str) -> socket.AddressFamily:
    if address.startswith("unix:"):
        return socket.AF_UNIX
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET
