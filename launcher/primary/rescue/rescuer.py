"""Saves the connections of a worker that goes. What to do with each is ``policy/rescue.py``."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable

from launcher import refusals
from launcher.descriptors import borrowed
from launcher.events.workers import ConnectionsRescued
from launcher.ipc.notes import Note
from launcher.policy.lifecycle import WorkerState
from launcher.policy.rescue import Action, Verdict, judge
from launcher.primary.connections.connections import Connection, Connections
from launcher.primary.connections.dispatcher import Dispatcher
from launcher.primary.connections.farewell import Farewell
from launcher.primary.journal import note as tell
from launcher.primary.processes.totals import Durations
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.rescue.accounting import figures
from launcher.primary.rescue.inquest import Inquest


class Rescuer:
    """Carries out the verdicts on a dead worker's connections."""

    def __init__(
        self,
        connections: Connections,
        farewell: Farewell,
        dispatcher: Dispatcher,
        inquest: Inquest,
        rerun: bool,
        clock: Callable[[], float],
    ) -> None:
        self._connections = connections
        self._farewell = farewell
        self._dispatcher = dispatcher
        self._inquest = inquest
        self._rerun = rerun
        self._clock = clock
        self.rescued = dict.fromkeys(Action, 0)
        """What became of the connections of dead workers, since the start of the cluster."""
        self.answered = Durations()
        """Of requests that dead workers had answered in whole, but did not live to count."""

    def rescue(self, worker: WorkerHandle) -> None:
        """Find a new place for every connection of a worker that is dead.

        Its overdue requests have had their time: they are not run again.
        """
        notes = {note.serial: note for note in worker.row.running()}
        again = []
        outcomes: Counter[Action] = Counter()
        for connection in self._connections.take_all(worker):
            overdue = connection.serial in worker.overdue
            note = notes.get(connection.serial)
            verdict = self._verdict(connection, note, overdue)
            outcomes[verdict.action] += 1
            if note and verdict.action in (Action.DEAL, Action.FINISH):
                self.answered.note(max(0, int(self._clock() * 1e9) - note.started))
            if note and verdict.action is Action.RERUN:
                self._prepare(connection)
                again.append((connection, self._clock() - note.started * 1e-9))
            else:
                self._carry_out(connection, verdict, overdue)
        for action, count in outcomes.items():
            self.rescued[action] += count
        if outcomes:
            tell(_rescued(worker, outcomes))
        if worker.leaving:
            self._inquest.absolve(worker, [connection for connection, _ in again])
        else:
            self._inquest.open(worker, again, len(notes))

    def take_back(self, worker: WorkerHandle, serial: int, since: float) -> None:
        """Deal a connection again that a worker returned: it retires, shares, or has no thread.

        ``since``: when the request on it began to wait.
        """
        returned_by = worker if worker.state is WorkerState.ONLINE else None
        connection = self._connections.take_from(worker, serial)
        if connection:
            connection.since = since
            self._deal_again(connection, returned_by)

    def cut(self, serial: int) -> None:
        """Close a connection so that the client can tell that its response is not whole."""
        connection = self._connections.get(serial)
        fd = self._connections.release(connection) if connection else None
        if fd is not None:
            self._farewell.cut(fd)

    def _verdict(self, connection: Connection, note: Note | None, overdue: bool) -> Verdict:
        return judge(
            note,
            figures(connection.fd) if connection.exact and note else None,
            pinned=connection.pinned,
            answered=connection.answered,
            rerun=self._rerun and not overdue,
        )

    def _prepare(self, connection: Connection) -> None:
        """Bring the record up to date: the request on this connection may run again."""
        self._recount(connection)
        _wake_at_once(connection.fd)
        if connection.consumed != connection.rerun_at:  # it is another request than last time
            connection.rerun_at = connection.consumed
            connection.reruns = 0

    def _carry_out(self, connection: Connection, verdict: Verdict, overdue: bool) -> None:
        if verdict.consume:
            _consume(connection.fd, verdict.consume)
        if verdict.action is Action.DEAL:
            self._deal_again(connection)
            return
        fd = self._connections.release(connection)
        if fd is None:
            return
        if verdict.action is Action.CUT:
            self._farewell.cut(fd)
        elif verdict.action is Action.FINISH:
            self._farewell.answer(fd, b"")
        else:
            self._farewell.answer(fd, refusals.GATEWAY_TIMEOUT if overdue else refusals.BAD_GATEWAY)

    def _deal_again(self, connection: Connection, returned_by: WorkerHandle | None = None) -> None:
        self._recount(connection)
        # Its last worker may have died between the response and saying that it is unpinned.
        connection.pinned = connection.answered = False
        _wake_at_once(connection.fd)
        if returned_by:
            self._dispatcher.readmit(connection, returned_by)
        else:
            self._dispatcher.admit(connection)

    @staticmethod
    def _recount(connection: Connection) -> None:
        known = figures(connection.fd) if connection.exact else None
        if known:
            connection.written, connection.consumed = known.written, known.consumed
            if not known.consumed:  # what a proxy has said is still there, to be read again
                connection.proxied = ""


def _rescued(worker: WorkerHandle, outcomes: Counter[Action]) -> ConnectionsRescued:
    return ConnectionsRescued(
        worker.identity,
        dealt=outcomes[Action.DEAL],
        rerun=outcomes[Action.RERUN],
        answered=outcomes[Action.ANSWER],
        finished=outcomes[Action.FINISH],
        cut=outcomes[Action.CUT],
    )


def _consume(fd: int, size: int) -> None:
    """Read ``size`` bytes off the connection: a request that is answered already."""
    with borrowed(fd) as sock, contextlib.suppress(OSError):
        while size > 0:
            got = len(sock.recv(min(size, 65536), socket.MSG_DONTWAIT))
            if got == 0:
                return
            size -= got


def _wake_at_once(fd: int) -> None:
    """Have the first byte that arrives wake the next worker.

    The last worker may have set SO_RCVLOWAT (socket(7)) to be woken by a whole piece of a body
    only. The option belongs to the connection and travels with it, and the next worker does
    not know of it.
    """
    with borrowed(fd) as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
