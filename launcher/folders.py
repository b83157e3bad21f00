"""The current folder, by a name that follows a switched release.

A release is often reached through a symlink: ``current`` leads to ``releases/7``. The
kernel knows only where it leads (getcwd(2)), so a path that is to be good after the
next switch has to be made from the name.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

from launcher.errors import LauncherError

__all__ = ["absolute", "current_folder"]

CURRENT = "current"
"""What Capistrano, Deployer and their like call the symlink to the release that is served."""


def absolute(path: str) -> str:
    """``path``, by the current folder's name where that leads to the same.

    It does not with ``..``, which leads up from the release and not from the symlink.
    """
    if os.path.isabs(path):
        return os.path.normpath(path)
    named = os.path.normpath(os.path.join(current_folder(os.environ), path))
    return named if _same(named, path) else os.path.abspath(path)


def current_folder(environ: Mapping[str, str]) -> str:
    """The current folder by the name it was entered by, as gunicorn does.

    The shell tells the name in PWD. systemd, cron and container engines tell none, and
    a program that starts a process in another folder leaves an old one: there the symlink
    is looked for. Raises LauncherError when the folder is gone.
    """
    try:
        folder, entered = os.getcwd(), environ.get("PWD", "")
    except OSError as error:
        raise LauncherError(f"the current folder is gone ({error.strerror}): cd again") from None
    if os.path.isabs(entered) and _same(entered, folder):
        return entered
    return _through_current(folder)


def _through_current(folder: str) -> str:
    """``folder`` by way of a symlink called ``current`` beside what it leads to, or above."""
    above, rest = os.path.dirname(folder), [os.path.basename(folder)]
    while rest[-1]:
        link = os.path.join(above, CURRENT)
        if os.path.islink(link):
            for count in range(len(rest)):
                named = os.path.join(link, *reversed(rest[:count]))
                if _same(named, folder):
                    return named
        above, name = os.path.split(above)
        rest.append(name)
    return folder


def _same(path: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False
