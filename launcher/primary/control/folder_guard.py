"""Makes the cluster's folder anew, by which commands find the cluster, when it was removed.

Folders for temporary files are cleaned by age, and people tidy up. The folder is made under the
same rules as at the start: not where another process has the name of the cluster now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.config.inherited import inherited
from launcher.errors import LauncherError
from launcher.events.cluster import FolderLost, FolderRestored
from launcher.primary import log
from launcher.primary.control.server import ControlServer
from launcher.primary.journal import note
from launcher.state.cluster_folder import ClusterFolder

if TYPE_CHECKING:
    from launcher.primary.cluster.primary import Primary

_INTERVAL = 2.0
"""Seconds between looks."""


class FolderGuard:
    """Looks after the folder of a cluster."""

    def __init__(self, primary: Primary, folder: ClusterFolder, control: ControlServer) -> None:
        self._primary = primary
        self._folder = folder
        self._control = control
        self._told = ""

    def start(self) -> None:
        """Look from now on, if there is a folder."""
        if self._folder.findable:
            self._primary.reactor.call_later(_INTERVAL, self._look)

    def _look(self) -> None:
        self.start()
        if not self._folder.complete():
            self._restore()
        elif log.is_lost():
            self._primary.reopen_logs()

    def _restore(self) -> None:
        try:
            self._folder.restore()
            self._folder.write_app_json(self._primary.settings.to_json())
            self._folder.write_variables(inherited())
            self._control.move_to(self._folder.bind_control_socket())
        except LauncherError as error:
            if str(error) != self._told:
                self._told = str(error)
                note(FolderLost(str(error)))
            return
        self._told = ""
        self._primary.reopen_logs()
        note(FolderRestored(self._folder.path))
