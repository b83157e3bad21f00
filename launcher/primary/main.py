"""Puts a primary together, runs it, and takes it apart again."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping
from typing import Any

from setproctitle import setproctitle

from launcher.home import ClusterFolder
from launcher.primary.control import ControlServer, Reply, Verb
from launcher.primary.listeners import open_listeners
from launcher.primary.primary import Primary
from launcher.primary.reactor import Reactor
from launcher.primary.report import report
from launcher.settings import Settings, parse_bind, scale_target

_RESERVED = 256
"""Descriptors that are not for connections: listeners, channels, the control socket."""

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def serve(settings: Settings, folder: ClusterFolder) -> int:
    """Run the cluster in this process until it is stopped; the exit status.

    Raises LauncherError when it cannot start, or did not end as it should.
    """
    most_connections = _raise_descriptor_limit() - _RESERVED
    _adopt_orphans()
    listeners = open_listeners(map(parse_bind, settings.bind), settings.backlog)
    reactor = Reactor()
    primary = Primary(settings, listeners, reactor, most_connections)
    try:
        control = ControlServer(reactor, folder.bind_control_socket(), _verbs(primary, folder))
        folder.write_app_json(settings.to_json())
        setproctitle(f"launcher: primary [{settings.name}]")
        primary.start()
        reactor.run()
        # Before the control socket says that we are gone.
        folder.release(forget=not primary.keep_entry)
        control.close()
    finally:
        primary.close()
        reactor.close()
    if primary.failure:
        raise primary.failure
    return 0


def _verbs(primary: Primary, folder: ClusterFolder) -> Mapping[str, Verb]:
    def status(_args: Mapping[str, Any], reply: Reply) -> None:
        reply.done(report(primary))

    def stop(_args: Mapping[str, Any], reply: Reply) -> None:
        reply.done({"pid": os.getpid(), "deadline": primary.settings.graceful_timeout + 5})
        primary.stop(keep_entry=True)

    def reload(_args: Mapping[str, Any], reply: Reply) -> None:
        primary.reload(reply)

    def restart(_args: Mapping[str, Any], reply: Reply) -> None:
        primary.restart(reply)

    def scale(args: Mapping[str, Any], reply: Reply) -> None:
        workers, why = scale_target(args["to"], primary.wanted)
        primary.scale(workers, why, reply)
        folder.write_app_json(primary.settings.to_json())

    return {"status": status, "stop": stop, "reload": reload, "restart": restart, "scale": scale}


def _raise_descriptor_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(hard, 1 << 20)


def _adopt_orphans() -> None:
    """Have workers whose pool died become our children, so that their end is collected."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
