"""Puts a primary together, runs it, and takes it apart again."""

from __future__ import annotations

import ctypes
import gc
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import closing

from setproctitle import setproctitle

from launcher.config.address import url
from launcher.config.inherited import inherited
from launcher.config.settings import Settings, parse_bind
from launcher.descriptors import raise_limit
from launcher.errors import LauncherError
from launcher.events.cluster import ClusterFailed, ClusterStopped
from launcher.primary import log
from launcher.primary.cluster.first_start import FirstStart
from launcher.primary.cluster.primary import Primary
from launcher.primary.cluster.rounds import Rounds
from launcher.primary.connections.listeners import Listener, open_listeners
from launcher.primary.connections.room import require_descriptors
from launcher.primary.connections.unix_socket import access_of
from launcher.primary.control.folder_guard import FolderGuard
from launcher.primary.control.server import ControlServer
from launcher.primary.control.verbs import Verbs
from launcher.primary.insight.meter import Meter
from launcher.primary.insight.minute import Minute
from launcher.primary.insight.pages import pages
from launcher.primary.insight.status_server import BACKLOG, StatusServer
from launcher.primary.journal import note, observed_by
from launcher.primary.processes.generation import Terms
from launcher.primary.processes.roster import Roster
from launcher.primary.reactor import Reactor
from launcher.primary.signals import heed_signals
from launcher.primary.timetable import Timetable
from launcher.primary.traffic import Traffic
from launcher.state.cluster_folder import ClusterFolder
from launcher.state.event_log import EventLog
from launcher.state.neighbours import listens_on

_MOST_DEFECTS = 16
_SHORTLY = 60.0
"""Seconds. 16 defects within a minute end the cluster: it goes round in circles."""

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


Ready = Callable[[list[str], int], None]
"""Called with the addresses and the number of workers."""


def serve(
    settings: Settings, folder: ClusterFolder, on_ready: Ready | None = None, mark: str = ""
) -> int:
    """Run the cluster in this process until it is stopped; the exit status.

    ``on_ready``: a command waits for the start; it is called when all workers are ready, and
    the first thing that goes wrong before that ends the cluster. ``mark``: see
    `generation.Terms`. Raises LauncherError when it cannot start, or did not
    end as it should.
    """
    kept = EventLog(folder, log.log)
    with closing(kept), log.in_its_place(settings, folder), observed_by(kept.keep):
        return _serve(settings, folder, on_ready, mark)


def _serve(settings: Settings, folder: ClusterFolder, on_ready: Ready | None, mark: str) -> int:
    descriptors = raise_limit()
    require_descriptors(descriptors, settings.wanted, len(settings.bind))
    _adopt_orphans()
    listeners = open_listeners(
        map(parse_bind, settings.bind), settings.backlog, access_of(settings), listens_on
    )
    status_listener = _open_status(settings, listeners)
    _tell_what_only_export_heeds(settings)
    reactor = Reactor(on_defect=_tolerant())

    def ready() -> None:
        if on_ready:
            primary.ending.keep_entry = True  # however it ends from here on: it has a name
            on_ready([listener.address for listener in listeners], primary.wanted)

    primary = Primary(
        Terms(settings, mark=mark),
        listeners,
        reactor,
        Roster(settings, [listener.address for listener in listeners], reactor),
        Traffic(settings, listeners, reactor, descriptors),
        FirstStart(folder.findable, ready if on_ready else None),
    )
    meter, minute = Meter(primary), Minute(primary)
    status = None
    if status_listener:
        status = StatusServer(reactor, status_listener, pages(primary, minute.percentiles))
    try:
        heed_signals(primary)
        verbs = Verbs(primary, folder, meter, minute).table()
        control = ControlServer(reactor, folder.bind_control_socket(), verbs)
        folder.write_app_json(settings.to_json())
        folder.write_variables(inherited())
        setproctitle(f"launcher: primary [{settings.name}]")
        meter.start()
        minute.start()
        FolderGuard(primary, folder, control).start()
        Rounds(primary).start()
        Timetable(primary).start()
        primary.start()
        # What is imported lives as long as we do. A collector that does not look at
        # it is quick, and so looks often enough at what workers leave behind.
        gc.freeze()
        reactor.run()
        failure = primary.ending.failure
        note(ClusterFailed(str(failure)) if failure else ClusterStopped())
        # Before the control socket says that we are gone.
        _leave(folder, primary)
        control.close()
    finally:
        if status:
            status.close()
        primary.close()
        reactor.close()
    if primary.ending.failure:
        raise primary.ending.failure
    return 0


def _open_status(settings: Settings, listeners: list[Listener]) -> Listener | None:
    """Listen on the status address, if there is one. Raises LauncherError, with all closed.

    A unix socket there is open to every user, as a port would be.
    """
    if not settings.status_bind:
        return None
    try:
        (listener,) = open_listeners(
            [parse_bind(settings.status_bind)], BACKLOG, other="--status-bind"
        )
    except LauncherError:
        for each in listeners:
            each.close()
        raise
    log.log(f"status at {url(listener.address)}: /livez, /readyz, /metrics, /status.json")
    return listener


def _tell_what_only_export_heeds(settings: Settings) -> None:
    """Warn of a setting that only ``export`` heeds: users could rely on it."""
    if settings.drain:
        log.log("--drain is for export only: this version does not heed it itself")


def _leave(folder: ClusterFolder, primary: Primary) -> None:
    """Keep the cluster's entry, restore the entry of before this start, or remove it."""
    ending = primary.ending
    failed_to_start = ending.failure and primary.first_start.waited_for
    if folder.before and (failed_to_start or not ending.keep_entry):
        folder.write_app_json(folder.before)
        folder.write_variables(folder.variables_before)
        ending.keep_entry = True
    folder.release(forget=not ending.keep_entry)


def _tolerant() -> Callable[[Exception], None]:
    """Logs a defect of the launcher and lets the cluster go on, until there are too many.

    One event is lost then, and `Primary.step` gets over that.
    """
    times: deque[float] = deque(maxlen=_MOST_DEFECTS)

    def note(error: Exception) -> None:
        log.write("".join(traceback.format_exception(error)))
        times.append(time.monotonic())
        if len(times) == _MOST_DEFECTS and times[-1] - times[0] < _SHORTLY:
            raise error

    return note


def _adopt_orphans() -> None:
    """Have workers whose pool died become our children, so that their end is collected."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
