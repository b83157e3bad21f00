"""What a pool does once it is told: load the app, then fork and reap workers."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import fcntl
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from launcher import PACKAGE_ROOT
from launcher.config.settings import Settings
from launcher.ipc.boot import Boot
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Configured, Failed, Loaded, Notice
from launcher.ipc.records import encode
from launcher.logs.files import Limits
from launcher.logs.folder import POOL
from launcher.logs.streams import FileOutput, Output
from launcher.memory import use_one_arena
from launcher.pool import APP_FAILED
from launcher.pool.arbiter import Arbiter
from launcher.pool.loading.application import Application
from launcher.pool.loading.fork_safety import open_sockets, why_not_to_fork
from launcher.pool.loading.load_error import LoadError
from launcher.pool.loading.source_watch import SourceWatch

_STDERR = 2


def run(channel: Channel, descriptors: list[int], started_over: bool) -> NoReturn:
    """Do what the descriptors of `Begin` say until the primary closes the channel.

    ``started_over``: the app has turned out not to be fit to be forked; see `_start_over`.
    """
    use_one_arena()
    environment = dict(os.environ)
    for fd in (channel.fd, *descriptors):
        os.set_inheritable(fd, False)
    faulthandler.enable()  # a native library may crash while the app is loaded
    boot = Boot.from_file(descriptors[0])
    if started_over:
        settings = dataclasses.replace(boot.settings, preload=False)
        boot = dataclasses.replace(boot, settings=settings)
    output = _output(boot, *descriptors[2:])
    # Before the app is loaded: a file that changes meanwhile may have been read already.
    sources = _sources(boot.settings)
    notices: list[str] = []
    failure = None
    try:
        with _ended_with(channel):
            application, unfit = _load(boot, notices)
    except LoadError as error:
        failure = Failed(error.reason, error.detail)
    for notice in [] if started_over else notices:
        channel.send(encode(Notice(notice)))
    if failure:
        channel.send(encode(failure))
        sys.exit(APP_FAILED)
    if unfit:
        channel.send(encode(Notice(f"each worker loads the app for itself: {unfit}")))
        _start_over([channel.fd, *descriptors], environment)
    channel.send(encode(_configured(application)))
    channel.send(encode(Loaded()))
    with _failure_told(channel):
        Arbiter(application, channel, descriptors[1], boot, output, sources).run()
    sys.exit(0)


@contextlib.contextmanager
def _failure_told(channel: Channel) -> Iterator[None]:
    """Report what ends the pool to the primary: what a server hook raises, as a rule."""
    pool = os.getpid()
    try:
        yield
    except ChannelClosed:
        raise
    except BaseException as error:
        if os.getpid() != pool:  # a worker leaves
            raise
        failure = LoadError.from_a_hook(error)
        channel.send(encode(Failed(failure.reason, failure.detail)))
        # Told before the channels of workers that were not forked close: `Roster._worker_lost`.
        channel.close()
        sys.exit(APP_FAILED)


@contextlib.contextmanager
def _ended_with(channel: Channel) -> Iterator[None]:
    """Have the kernel end this process when the primary dies, whatever the app is doing.

    No message comes over the channel meanwhile, so only the end of the channel can raise a
    signal (fcntl(2), F_SETSIG).
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


def _sources(settings: Settings) -> SourceWatch | None:
    return SourceWatch(settings.chdir, settings.watch_ignore) if settings.watch else None


def _output(boot: Boot, logs: int | None = None) -> Output:
    """Where this process and its workers write: in the background, log files from now on."""
    if logs is None:
        return Output()
    limits = Limits(boot.settings.log_max_size, boot.settings.log_keep)
    return FileOutput(logs, POOL, limits)


def _load(boot: Boot, notices: list[str]) -> tuple[Application, str | None]:
    """Load the app, unless the workers load it; and why this process must not be forked, if so.

    ``notices`` as of `Application`. Raises LoadError.
    """
    # The folder in which -m found this package; the app's own folder takes its place.
    sys.path[0] = boot.settings.chdir
    known = open_sockets()
    application = Application(boot, notices)
    present = open_sockets()
    application.set_up_log()
    known |= {name: fd for name, fd in open_sockets().items() if name not in present}
    if application.cfg.preload_app:
        application.wsgi()
        return application, why_not_to_fork(known)
    return application, None


def _configured(application: Application) -> Configured:
    cfg = application.cfg
    own = (cfg.uid, cfg.gid) == (os.geteuid(), os.getegid())
    return Configured(cfg.umask, *((-1, -1) if own else (cfg.uid, cfg.gid)))


def _start_over(descriptors: list[int], environment: dict[str, str]) -> None:
    """Become a fresh interpreter in which each worker loads the app for itself.

    What the app started while it was loaded (threads, connections) cannot be
    taken back and would be broken in every worker; exec leaves none of it but
    processes. ``descriptors`` are kept, and the variables as they were at first.
    """
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(
            OSError
        ):  # the listing itself used a descriptor that is closed by now
            os.set_inheritable(fd, fd in descriptors or fd <= _STDERR)
    os.chdir(PACKAGE_ROOT)
    arguments = [sys.executable, "-m", "launcher.pool", *map(str, descriptors)]
    os.execve(sys.executable, arguments, environment)
