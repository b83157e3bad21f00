"""``python -m launcher``."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable

_NO_RUN = {"-h", "--help", "--version"}


def _end_at_once(*_: object) -> None:
    """SIGINT before and after the command itself: exit 130 without tidying up.

    Not KeyboardInterrupt: inside an import it is lost, or shown as a traceback. A pool that was
    started ahead ends by itself when its socket closes.
    """
    os._exit(130)


def _on_interrupt(now: Callable[..., object], then: Callable[..., object]) -> None:
    """Replace the handler of SIGINT by ``then``, but only if it is still ``now``.

    A job in the background of a shell ignores SIGINT, and the primary has a handler of its own.
    """
    if signal.getsignal(signal.SIGINT) is now:
        signal.signal(signal.SIGINT, then)


def _keep_standard_descriptors() -> None:
    """Nothing of ours gets the number of a standard stream that we were started without.

    Else a line of the log would be written into a connection, or the scoreboard.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _is_run(arguments: list[str]) -> bool:
    """Whether these begin a cluster in this process, as far as can be told at a glance."""
    named = not arguments or arguments[0] == "run" or arguments[0].startswith("-")
    return named and "_LAUNCHER_COMPLETE" not in os.environ and _NO_RUN.isdisjoint(arguments)


def _pool_ahead() -> contextlib.AbstractContextManager[None]:
    from launcher.primary.processes.pool_process import ahead

    return ahead()


def _main() -> int:
    from launcher.cli import main  # while the pool imports what it needs

    try:
        _on_interrupt(_end_at_once, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:  # main tells it by itself, but for its first and last moment
        return 130
    finally:
        _on_interrupt(signal.default_int_handler, _end_at_once)


def command() -> None:
    """What ``python -m launcher`` does, and the command ``launcher`` where that is installed."""
    _on_interrupt(signal.default_int_handler, _end_at_once)
    _keep_standard_descriptors()
    with _pool_ahead() if _is_run(sys.argv[1:]) else contextlib.nullcontext():
        status = _main()
    sys.exit(status)


if __name__ == "__main__":
    command()
