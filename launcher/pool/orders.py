"""What the pool gives a worker at its birth."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from launcher.config.settings import Settings
from launcher.ipc.scoreboard import Row, Scoreboard
from launcher.logs.streams import Output


@dataclass(frozen=True, slots=True)
class Orders:
    """Who the worker is, its row of the scoreboard, and its end of the channel to the primary."""

    id: int
    slot: int
    generation: int
    row: Row
    board: Scoreboard
    """The rows of all workers; the others' are only looked at."""
    sock: socket.socket
    settings: Settings
    addresses: list[str]
    output: Output
    leave_the_pool: Callable[[], None]
    """Closes what belongs to the pool; called first of all in the new process."""
