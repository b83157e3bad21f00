"""``python -m launcher.pool CHANNEL [BOOT SCOREBOARD [LOGS]]``.

Started by the primary only; the arguments are inherited descriptors. All but
the channel come over that (`Begin`), except in a pool that has started over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator

from launcher import PACKAGE_ROOT
from launcher.descriptors import raise_limit
from launcher.ipc.boot import Boot
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Begin, Failed, Loaded, Notice, decode, encode
from launcher.logs.files import Limits
from launcher.logs.folder import POOL
from launcher.logs.streams import FileOutput, Output
from launcher.pool.application import APP_FAILED, Application, LoadError
from launcher.pool.arbiter import Arbiter
from launcher.pool.fork_safety import open_sockets, why_not_to_fork
from launcher.pool.source_watch import SourceWatch

_STDERR = 2


def main() -> None:
    """Load the app, then fork and reap workers until the primary lets us go."""
    environment = dict(os.environ)
    raise_limit()  # we may have been started before the primary did
    channel_fd, *given = map(int, sys.argv[1:])
    channel = Channel(socket.socket(fileno=channel_fd))
    descriptors = given or _told(channel)
    for fd in (channel_fd, *descriptors):
        os.set_inheritable(fd, False)
    faulthandler.enable()  # a native library may crash while the app is loaded
    boot = Boot.from_file(descriptors[0])
    if given:
        settings = dataclasses.replace(boot.settings, preload=False)
        boot = dataclasses.replace(boot, settings=settings)
    output = _output(boot, *descriptors[2:])
    # Before the app is loaded: what changes meanwhile may have been read already.
    sources = SourceWatch(boot.settings.chdir) if boot.settings.watch else None
    try:
        with _ended_with(channel):
            application, unfit = _load(boot)
    except LoadError as error:
        channel.send(encode(Failed(error.reason, error.detail)))
        sys.exit(APP_FAILED)
    if application.unused and not given:
        names = ", ".join(sorted(application.unused))
        file = boot.settings.gunicorn_config
        channel.send(encode(Notice(f"{file}: not used here, see the options: {names}")))
    if unfit:
        channel.send(encode(Notice(f"each worker loads the app for itself: {unfit}")))
        _start_over([channel.fd, *descriptors], environment)
    channel.send(encode(Loaded()))
    Arbiter(application, channel, descriptors[1], boot, output, sources).run()


def _told(channel: Channel) -> list[int]:
    """The descriptors of `Begin`. Raises ChannelClosed when we are not needed after all."""
    waiting = select.poll()
    waiting.register(channel.fd, select.POLLIN)
    waiting.poll()
    received = channel.receive()
    assert received
    assert isinstance(decode(received[0]), Begin)
    return received[1]


@contextlib.contextmanager
def _ended_with(channel: Channel) -> Iterator[None]:
    """The kernel ends this process when the primary dies, whatever the app is doing.

    Nothing is said over the channel meanwhile, so its end is all that can
    raise a signal (fcntl(2), F_SETSIG).
    """
    fcntl.fcntl(channel.fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(channel.fd, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(channel.fd, fcntl.F_GETFL)
    fcntl.fcntl(channel.fd, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        gone = select.poll()
        gone.register(channel.fd, select.POLLIN)
        if gone.poll(0):
            raise ChannelClosed
        yield
    finally:
        fcntl.fcntl(channel.fd, fcntl.F_SETFL, flags)


def _output(boot: Boot, logs: int | None = None) -> Output:
    """Where this process and its workers write; in the background their files, from now on."""
    if logs is None:
        return Output()
    limits = Limits(boot.settings.log_max_size, boot.settings.log_keep)
    return FileOutput(logs, POOL, limits)


def _load(boot: Boot) -> tuple[Application, str | None]:
    """Load the app, unless the workers are to; also why it must not be forked, if so."""
    # Where -m found this package; the app's own folder takes its place.
    sys.path[0] = boot.settings.chdir
    known = open_sockets()
    application = Application(boot)
    if application.cfg.preload_app:
        application.wsgi()
        return application, why_not_to_fork(known)
    return application, None


def _start_over(descriptors: list[int], environment: dict[str, str]) -> None:
    """Become a fresh interpreter in which each worker loads the app for itself.

    What the app started while it was loaded (threads, connections) cannot be
    taken back and would be broken in every worker; exec leaves none of it but
    processes. ``descriptors`` are kept, and the variables as they were at first.
    """
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the folder was listed through a descriptor too
            os.set_inheritable(fd, fd in descriptors or fd <= _STDERR)
    os.chdir(PACKAGE_ROOT)
    arguments = [sys.executable, "-m", "launcher.pool", *map(str, descriptors)]
    os.execve(sys.executable, arguments, environment)


if __name__ == "__main__":
    try:
        main()
    except ChannelClosed:
        sys.exit(0)  # the primary is gone; there is nobody to tell
