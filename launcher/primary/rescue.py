"""Saves the connections of a worker that goes. What to do with each is ``policy/rescue.py``."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from launcher.ipc.scoreboard import Note
from launcher.policy.rescue import Action, Verdict, judge
from launcher.primary import refusals
from launcher.primary.accounting import figures
from launcher.primary.connections import Connection, Connections
from launcher.primary.farewell import Farewell
from launcher.primary.worker_handle import WorkerHandle


class Rescuer:
    """Carries out the verdicts on a dead worker's connections."""

    def __init__(
        self,
        connections: Connections,
        farewell: Farewell,
        deal: Callable[[Connection], None],
        rerun: bool,
    ) -> None:
        self._connections = connections
        self._farewell = farewell
        self._deal = deal
        self._rerun = rerun

    def rescue(self, worker: WorkerHandle) -> None:
        """Find a new place for every connection of a worker that is dead."""
        notes = {note.serial: note for note in worker.row.running()}
        kept = list(worker.connections_by_serial.values())
        worker.connections_by_serial.clear()
        for connection in kept:
            connection.worker = None
            self._settle(connection, notes.get(connection.serial))

    def take_back(self, worker: WorkerHandle, serials: list[int]) -> None:
        """Deal again what a retiring worker returned."""
        for serial in serials:
            connection = worker.connections_by_serial.pop(serial, None)
            if connection:
                connection.worker = None
                self._deal_again(connection)

    def _settle(self, connection: Connection, note: Note | None) -> None:
        known = figures(connection.fd) if connection.exact and note else None
        verdict = judge(
            note,
            known,
            pinned=connection.pinned,
            answered=connection.answered,
            rerun=self._rerun,
            rerun_at=connection.rerun_at,
        )
        self._carry_out(connection, verdict)

    def _carry_out(self, connection: Connection, verdict: Verdict) -> None:
        if verdict.consume:
            _consume(connection.fd, verdict.consume)
        if verdict.action is Action.DEAL:
            self._deal_again(connection)
            return
        if verdict.action is Action.RERUN:
            self._deal_again(connection)
            connection.rerun_at = connection.consumed
            return
        fd = self._connections.release(connection)
        if fd is None:
            return
        if verdict.action is Action.CUT:
            self._farewell.cut(fd)
        else:
            owed = verdict.action is Action.ANSWER
            self._farewell.answer(fd, refusals.BAD_GATEWAY if owed else b"")

    def _deal_again(self, connection: Connection) -> None:
        known = figures(connection.fd) if connection.exact else None
        if known:
            connection.written, connection.consumed = known.written, known.consumed
        self._deal(connection)


def _consume(fd: int, size: int) -> None:
    """Read ``size`` bytes off the connection: a request that is answered already."""
    sock = socket.socket(fileno=fd)
    try:
        with contextlib.suppress(OSError):
            while size > 0:
                got = len(sock.recv(min(size, 65536), socket.MSG_DONTWAIT))
                if got == 0:
                    return
                size -= got
    finally:
        sock.detach()
