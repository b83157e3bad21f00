"""The primary's own log lines, on stderr.

The primary must not block, and stderr may be a pipe whose reader has stopped
or a terminal on hold: a line that does not fit now is dropped. A closed
stderr is no reason to stop serving either.
"""

from __future__ import annotations

import contextlib
import os
import select
import time

_STDERR = 2


def log(text: str) -> None:
    """Write one line with the time and ``[primary]``, or drop it."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    write(f"{stamp} [primary] {text}\n")


def write(text: str) -> None:
    """Write ``text`` to stderr as it is, or drop it."""
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    with contextlib.suppress(OSError):
        if poll.poll(0):
            os.write(_STDERR, text.encode(errors="backslashreplace"))
