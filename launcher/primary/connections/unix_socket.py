"""Which users may connect to a unix socket: the mode and owner of its file, see unix(7).

What the options say counts. Where they say nothing, it is as with gunicorn: its
``umask``, 0 by default, is what a mode of 0777 lacks, and its ``user`` and ``group``
own the file. Only the pool reads gunicorn's configuration; so where there may be one, no
other user can connect until the pool has told what it says.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable, Mapping
from typing import NamedTuple

from launcher.config.settings import Settings
from launcher.errors import LauncherError

__all__ = ["ALL", "EVERYBODY", "Access", "access_of", "admit", "bind"]

_AS_IT_IS = -1  # chown(2)


class Access(NamedTuple):
    """The mode of the file, None: not known yet; and the ids of its owner, -1: as it is."""

    mode: int | None
    uid: int = _AS_IT_IS
    gid: int = _AS_IT_IS

    def completed(self, mode: int, uid: int, gid: int) -> Access:
        """This access, completed by what gunicorn's configuration says of the rest."""
        owner = (self.uid, self.gid)
        if owner == (_AS_IT_IS, _AS_IT_IS):
            owner = (uid, gid)
        return Access(mode if self.mode is None else self.mode, *owner)


EVERYBODY = 0o777
ALL = Access(EVERYBODY)


def access_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Access:
    """Which users may connect from the start, by these settings.

    Raises LauncherError for a user or group that there is not.
    """
    user, _, group = (settings.unix_socket_owner or "").partition(":")
    uid = _id(user, "user", lambda name: pwd.getpwnam(name).pw_uid)
    gid = _id(group, "group", lambda name: grp.getgrnam(name).gr_gid)
    if settings.unix_socket_mode:
        return Access(int(settings.unix_socket_mode, 8), uid, gid)
    return Access(None if _gunicorn_may_say(settings, environ) else EVERYBODY, uid, gid)


def bind(sock: socket.socket, path: str, access: Access) -> None:
    """Bind, with no moment in which others may connect. Raises OSError.

    Changes the umask meanwhile; so only for a process that has one thread.
    """
    umask = os.umask(0o777 & ~(0o600 if access.mode is None else access.mode))
    try:
        sock.bind(path)
    finally:
        os.umask(umask)
    try:
        admit(path, os.lstat(path).st_ino, access)
    except BaseException:
        os.unlink(path)
        raise


def admit(path: str, inode: int, access: Access) -> None:
    """Open the socket to the users of ``access``, if the file still has that inode.

    Through O_PATH: chmod(2) would follow a symlink that was put in the place of the file.
    Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if status.st_ino != inode or not stat.S_ISSOCK(status.st_mode):  # inodes are used again
                return
            _give(f"/proc/self/fd/{fd}", access)
            if access.mode is not None:
                os.chmod(f"/proc/self/fd/{fd}", access.mode)
        finally:
            os.close(fd)


def _give(path: str, access: Access) -> None:
    try:
        os.chown(path, access.uid, access.gid)
    except PermissionError as error:
        owner = ":".join("" if each == _AS_IT_IS else str(each) for each in access[1:])
        why = f"this user may not give it to {owner.removesuffix(':')}"
        raise OSError(error.errno, why) from None


def _id(name: str, kind: str, find: Callable[[str], int]) -> int:
    """The id of a user or group, given by its name or as a number; -1 where none is given."""
    if not name or name.isdecimal():
        return int(name) if name else _AS_IT_IS
    try:
        return find(name)
    except KeyError:
        raise LauncherError(f"unix_socket_owner: there is no {kind} {name!r} here") from None


def _gunicorn_may_say(settings: Settings, environ: Mapping[str, str]) -> bool:
    return bool(settings.gunicorn_config or environ.get("GUNICORN_CMD_ARGS"))
