"""A child that the app forks is no worker.

The child begins as a copy of the thread that forked, in the middle of a request, and with every
socket of the worker. Children of multiprocessing and subprocess end by themselves. Any other
comes back to our code, by ``sys.exit()`` or by returning, and ends there, before it answers
its parent's client or takes a connection that is meant for its parent.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

in_child = False
"""Whether this process is such a child."""


def watch() -> None:
    """Notice forks from now on; a worker calls this once."""
    os.register_at_fork(after_in_child=_note)


def leave() -> NoReturn:
    """End such a child, with the status of its SystemExit if it has raised one."""
    status, error = 1, sys.exception()
    try:
        if isinstance(error, SystemExit) and isinstance(error.code, int | None):
            status = error.code or 0
        elif error:
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)


def _note() -> None:
    global in_child
    in_child = True
