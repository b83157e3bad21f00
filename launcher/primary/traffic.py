"""The way of the connections through the primary: accepted, kept, dealt, and rescued.

When workers come and go is decided in ``primary/cluster/``; here a worker is only what
connections are dealt to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from launcher import refusals
from launcher.config.settings import Settings
from launcher.ipc.messages import Cut, Listen, Pinned, Proxied, Returned, Share, Unpinned
from launcher.policy.balance import surplus
from launcher.policy.capacity import capacity, leaving
from launcher.policy.rescue import Action
from launcher.policy.scheduling import POLICIES
from launcher.primary.connections.acceptor import Acceptor
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.dispatcher import Dispatcher
from launcher.primary.connections.farewell import Farewell
from launcher.primary.connections.listeners import Listener
from launcher.primary.connections.room import Room, require_descriptors
from launcher.primary.processes.roster import ConnectionMessage
from launcher.primary.processes.totals import Durations
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor
from launcher.primary.rescue.inquest import Inquest
from launcher.primary.rescue.rescuer import Rescuer
from launcher.primary.rescue.trial import Trial


class Traffic:
    """The listeners and every connection that came in on them."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[Listener],
        reactor: Reactor,
        descriptors: int,
    ) -> None:
        self._listeners = listeners
        self._in_kernel = settings.policy == "kernel"
        self._sticky = settings.policy == "sticky"
        self._descriptors = descriptors
        sizes = descriptors, settings.wanted, len(listeners)
        self._connections = Connections(reactor, capacity(*sizes))
        self._farewell = Farewell(reactor, leaving(*sizes))
        self._dispatcher = Dispatcher(
            reactor,
            self._connections,
            self._farewell,
            # Not asked with "kernel": no connection comes here then.
            POLICIES["round-robin" if self._in_kernel else settings.policy],
            settings.queue_timeout,
            settings.queue_size,
        )
        self._room = Room(reactor, self._connections, descriptors)
        self._acceptor = Acceptor(
            reactor, listeners, self._connections, self._dispatcher, self._room.make
        )
        self._trial = Trial(
            reactor,
            self._connections,
            self._dispatcher.admit,
            self._dispatcher.deal_apart,
            partial(self._answer, refusals.UNAVAILABLE),
            settings.queue_timeout,
        )
        self._inquest = Inquest(
            reactor,
            self._connections,
            self._dispatcher.admit,
            partial(self._answer, refusals.BAD_GATEWAY),
            self._trial,
        )
        self._rescuer = Rescuer(
            self._connections,
            self._farewell,
            self._dispatcher,
            self._inquest,
            settings.rerun,
            reactor.clock,
        )

    def __len__(self) -> int:
        """Connections that are kept here."""
        return len(self._connections)

    @property
    def waiting(self) -> int:
        """Requests that wait in the primary; others wait in workers."""
        return self._dispatcher.held

    @property
    def accepted(self) -> int:
        """Connections accepted since the start of the cluster; with ``kernel`` none are here."""
        return self._connections.accepted

    @property
    def rescued(self) -> Mapping[Action, int]:
        """What became of the connections of dead workers, since the start of the cluster."""
        return self._rescuer.rescued

    @property
    def refused(self) -> Mapping[int, int]:
        """As `Farewell.refused`."""
        return self._farewell.refused

    @property
    def answered_by_the_dying(self) -> Durations:
        """As `Rescuer.answered`."""
        return self._rescuer.answered

    @property
    def taking_leave(self) -> bool:
        """Whether clients still have to read their last response, or have yet to get one."""
        return len(self._farewell) + len(self._inquest) + len(self._trial) > 0

    def size_for(self, workers: int) -> None:
        """Make room for so many workers. Raises LauncherError if the descriptors do not suffice."""
        sizes = self._descriptors, workers, len(self._listeners)
        require_descriptors(*sizes)
        self._connections.limit = capacity(*sizes)

    def start(self) -> None:
        """Accept connections; with policy ``kernel`` the workers do."""
        if not self._in_kernel:
            self._acceptor.start()

    def admit_no_more(self) -> None:
        """As `Listener.admit_no_more`, on all of them."""
        for listener in self._listeners:
            listener.admit_no_more()

    def end(self) -> None:
        """Accept what is in the backlog, then nothing more; requests that wait are refused."""
        if not self._in_kernel:
            self._acceptor.drain()
        for listener in self._listeners:
            listener.close()
        self._farewell.hurry()
        self._dispatcher.serve_with([], hopeless=True)

    def close(self) -> None:
        """Close the listeners, and hang up on clients that still read their last response."""
        self._farewell.close()
        for listener in self._listeners:
            listener.close()

    def serve_with(self, workers: list[WorkerHandle], hopeless: bool) -> None:
        """As `Dispatcher.serve_with`."""
        self._room.workers = workers
        self._dispatcher.serve_with(workers, hopeless)

    def welcome(self, worker: WorkerHandle) -> None:
        """A worker is ready: with policy ``kernel`` it gets the listeners and accepts itself."""
        if self._in_kernel:
            worker.tell(Listen(), tuple(entry.sock.fileno() for entry in self._listeners))

    def spread(self, workers: Sequence[WorkerHandle]) -> None:
        """Have workers return keep-alive connections, so that a new worker gets its share."""
        if self._sticky:
            return
        counts = [worker.held for worker in workers]
        for worker, count in zip(workers, surplus(counts), strict=True):
            if count:
                worker.tell(Share(count))

    def rescue(self, worker: WorkerHandle) -> None:
        """As `Rescuer.rescue`."""
        self._rescuer.rescue(worker)

    def exited(self, worker: WorkerHandle, status: int) -> None:
        """As `Inquest.exited`; comes after `rescue`."""
        self._inquest.exited(worker, status)

    def heard(self, worker: WorkerHandle, message: ConnectionMessage) -> None:
        """A worker returns connections, or says which of them cannot travel."""
        match message:
            case Returned(serial, since):
                self._rescuer.take_back(worker, serial, since)
            case Pinned(serial, answered):
                self._connections.pin(serial, pinned=True, answered=answered)
            case Unpinned(serial):
                self._connections.pin(serial, pinned=False, answered=False)
            case Proxied(serial, text):
                self._connections.introduce(serial, text)
            case Cut(serial):
                self._rescuer.cut(serial)

    def _answer(self, response: bytes, connection: Connection) -> None:
        """Answer a request and close its connection, unless the client has left."""
        fd = self._connections.release(connection)
        if fd is not None:
            self._farewell.answer(fd, response)
