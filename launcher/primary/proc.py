"""What /proc tells about a process: memory, CPU time. Sources: proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """``rss`` in bytes, ``cpu`` in seconds of CPU time since the process started."""

    rss: int
    cpu: float


def proportional_memory(pid: int) -> int:
    """Bytes of memory, what is shared counted in parts (PSS); 0 when it cannot be told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def usage(pid: int) -> Usage:
    """What the process uses now; zeros when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return Usage(0, 0.0)
    # The name (field 2) may hold anything, also spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].split()
    user, system, rss = int(fields[11]), int(fields[12]), int(fields[21])
    return Usage(rss * _PAGE, (user + system) / _TICKS)
