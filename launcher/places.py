"""Where the state folder may be, the best place first.

``LAUNCHER_HOME`` is a wish, and the only place then. Else it is ``~/.launcher``;
a container often has no home that can be written, so a foreground cluster goes on
to a folder of this user's for running programs (XDG Base Directory Specification),
and to one in shared memory, which is there in nearly every container.
"""

import os
from collections.abc import Mapping

from launcher.errors import LauncherError

__all__ = ["SHARED_MEMORY", "spare_places", "state_path"]

SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- whose the folder in it is, and its mode, are checked


def state_path(environ: Mapping[str, str]) -> str:
    """The absolute path of the state folder as it should be. It need not exist."""
    path = os.path.expanduser(environ.get("LAUNCHER_HOME") or "~/.launcher")
    if path.startswith("~"):
        raise LauncherError("no home folder is known for this user: set LAUNCHER_HOME")
    return os.path.abspath(path)


def spare_places(environ: Mapping[str, str]) -> list[str]:
    """Where it may be when it cannot be there; nowhere else than ``LAUNCHER_HOME`` if that is set.

    What they are in is there already, or they cannot be.
    """
    if environ.get("LAUNCHER_HOME"):
        return []
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    ours = [os.path.join(os.path.normpath(runtime), "launcher")] if os.path.isabs(runtime) else []
    return [*ours, f"{SHARED_MEMORY}/launcher-{os.geteuid()}"]
