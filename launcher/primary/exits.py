"""How a process ended, in words."""

from __future__ import annotations

import os
import signal


def describe_exit(status: int) -> str:
    """``status`` as from wait(2): "exited with status 1", "was killed by SIGKILL"."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:  # a real-time signal
            name = f"signal {number}"
        return f"was killed by {name}"
    return f"exited with status {os.WEXITSTATUS(status)}"
