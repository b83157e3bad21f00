"""``python -m launcher``."""

import contextlib
import os
import sys

_NO_RUN = {"-h", "--help", "--version"}


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
    from launcher.primary.pool_process import ahead

    return ahead()


if __name__ == "__main__":
    _keep_standard_descriptors()
    with _pool_ahead() if _is_run(sys.argv[1:]) else contextlib.nullcontext():
        from launcher.cli import main  # while the pool imports what it needs

        status = main()
    sys.exit(status)
