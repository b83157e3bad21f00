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
    """The worker's identity, its row of the scoreboard, its end of the channel to the primary."""

    id: int
    slot: int
    generation: int
    row: Row
    board: Scoreboard
    """The rows of all workers; a worker writes to its own only."""
    sock: socket.socket
    settings: Settings
    addresses: list[str]
    output: Output
    leave_the_pool: Callable[[], None]
    """Closes the pool's descriptors; called first of all in the new process."""
