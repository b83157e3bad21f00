"""``python -m launcher.pool CHANNEL BOOT SCOREBOARD [--load-in-workers]``.

Started by the primary only; the arguments are inherited descriptors.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import socket
import sys

from launcher.ipc.boot import PACKAGE_ROOT, Boot
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Failed, Loaded, Notice, encode
from launcher.logs.files import Limits
from launcher.logs.folder import POOL
from launcher.logs.streams import FileOutput, Output
from launcher.pool.application import APP_FAILED, Application, LoadError
from launcher.pool.arbiter import Arbiter
from launcher.pool.fork_safety import why_not_to_fork

_LOAD_IN_WORKERS = "--load-in-workers"


def main() -> None:
    """Load the app, then fork and reap workers until the primary lets us go."""
    descriptors = [int(text) for text in sys.argv[1:4]]
    for fd in descriptors:
        os.set_inheritable(fd, False)
    faulthandler.enable()  # a native library may crash while the app is loaded
    channel = Channel(socket.socket(fileno=descriptors[0]))
    boot = Boot.from_file(descriptors[1])
    if _LOAD_IN_WORKERS in sys.argv:
        settings = dataclasses.replace(boot.settings, preload=False)
        boot = dataclasses.replace(boot, settings=settings)
    output = _output(boot)
    if boot.logs is not None:
        descriptors.append(boot.logs)
    try:
        application = _load(boot, descriptors, channel)
    except LoadError as error:
        channel.send(encode(Failed(error.reason, error.detail)))
        sys.exit(APP_FAILED)
    channel.send(encode(Loaded()))
    Arbiter(application, channel, descriptors[2], boot, output).run()


def _output(boot: Boot) -> Output:
    """Where this process and its workers write; in the background their files, from now on."""
    if boot.logs is None:
        return Output()
    os.set_inheritable(boot.logs, False)
    limits = Limits(boot.settings.log_max_size, boot.settings.log_keep)
    return FileOutput(boot.logs, POOL, limits)


def _load(boot: Boot, descriptors: list[int], channel: Channel) -> Application:
    # Where -m found this package; the app's own folder takes its place.
    sys.path[0] = boot.settings.chdir
    application = Application(boot)
    if application.cfg.preload_app:
        known = frozenset(os.listdir("/proc/self/fd"))
        application.wsgi()
        reason = why_not_to_fork(known)
        if reason:
            channel.send(encode(Notice(f"each worker loads the app for itself: {reason}")))
            _start_over(descriptors)
    return application


def _start_over(descriptors: list[int]) -> None:
    """Become a fresh interpreter in which each worker loads the app for itself.

    What the app started while it was loaded (threads, connections) cannot be
    taken back and would be broken in every worker; exec leaves none of it.
    """
    for fd in descriptors:
        os.set_inheritable(fd, True)
    os.chdir(PACKAGE_ROOT)
    arguments = ["-m", "launcher.pool", *map(str, descriptors[:3]), _LOAD_IN_WORKERS]
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    try:
        main()
    except ChannelClosed:
        sys.exit(0)  # the primary is gone; there is nobody to tell
