"""The first start of a cluster: from the first fork until all workers are ready for once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.config.address import url
from launcher.config.settings import Settings
from launcher.events.cluster import ClusterReady
from launcher.primary.cluster.record import Trouble
from launcher.primary.connections.listeners import Listener
from launcher.primary.journal import note
from launcher.primary.log import log
from launcher.primary.notify import notify


class FirstStart:
    """Says when it is over, and what spoils it.

    ``findable``: whether other commands can find the cluster. ``on_ready``: a command waits
    for the start, and is told by this; then the first trouble ends the cluster, which is
    better told than tried again.
    """

    def __init__(self, findable: bool, on_ready: Callable[[], None] | None = None) -> None:
        self.over = False
        self._findable = findable
        self._on_ready = on_ready

    @property
    def waited_for(self) -> bool:
        """Whether a command still waits for the end of it."""
        return self._on_ready is not None and not self.over

    def spoiled_by(self, trouble: Trouble | None) -> bool:
        """Whether the cluster is to end because of this."""
        return trouble is not None and not self.over and (trouble.fatal or self.waited_for)

    def end(self, settings: Settings, listeners: Sequence[Listener]) -> None:
        """All workers are ready, for the first time: tell the log, systemd, the command."""
        self.over = True
        where = ", ".join(url(listener.address) for listener in listeners)
        note(ClusterReady(settings.name, where, settings.sizing))
        ways = [] if settings.log_to_files else ["Ctrl-C here"]
        ways += [f"python -m launcher stop {settings.name}"] if self._findable else []
        log(f"to stop it: {', or '.join(ways)}")
        notify(f"READY=1\nSTATUS={settings.wanted} workers ready")
        if self._on_ready:
            self._on_ready()
