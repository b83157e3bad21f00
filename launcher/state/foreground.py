"""Which folder a foreground cluster keeps, when the one it should have cannot be had.

It serves all the same: containers often run as a user without a home, or with
nothing to write to. What does not work then is said in one line.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from launcher.errors import LauncherError
from launcher.places import spare_places
from launcher.state.cluster_folder import CONTROL_BACKLOG, ClusterFolder
from launcher.state.home import Home

__all__ = ["NoFolder", "claimed"]


class NoFolder(ClusterFolder):
    """Stands for a folder where there is none: nothing is kept, no command finds the cluster."""

    findable = False

    def __init__(self, name: str) -> None:
        super().__init__("", -1, name, -1)

    def bind_control_socket(self) -> socket.socket:
        """A listening socket with a name that the kernel chooses: unix(7), autobind."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind("")
        listener.listen(CONTROL_BACKLOG)
        return listener

    def write_app_json(self, settings: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def write_variables(self, names: Sequence[str]) -> None:
        """Nothing is kept."""

    def release(self, *, forget: bool) -> None:
        """There is nothing to release."""


@contextmanager
def claimed(
    name: str, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[ClusterFolder, str]]:
    """The folder of the cluster that this process becomes, and a line on what is wrong, or "".

    LauncherError when the cluster runs already, its folder is not safe, or
    ``LAUNCHER_HOME`` cannot be used.
    """
    home, problem = _usable_home(environ)
    if home is None:
        yield NoFolder(name), problem
        return
    with home, home.claim(name) as folder:
        yield folder, problem


def _usable_home(environ: Mapping[str, str]) -> tuple[Home | None, str]:
    spare = spare_places(environ)
    if not spare:
        return Home.open(environ), ""
    try:
        return _writable(Home.open(environ)), ""
    except LauncherError as error:
        problem = str(error).partition(": set LAUNCHER_HOME")[0]
    for path in spare:
        try:
            home = _writable(Home.at(path))
        except LauncherError:
            continue
        return home, (
            f"{problem}: its state is in {path}, until the machine or container ends;"
            f" where commands look elsewhere, give them LAUNCHER_HOME={path}"
        )
    return None, (
        f"{problem}: it serves, but other commands cannot find it, and nothing is kept of it:"
        " set LAUNCHER_HOME to a folder you can write"
    )


def _writable(home: Home) -> Home:
    if home.writable():
        return home
    home.close()
    raise LauncherError(f"{home.path} cannot be written")
