"""What /proc tells about a process: memory, CPU time, state. Source: proc(5)."""

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
    fields = stat(pid)
    return Usage(int(fields[21]) * _PAGE, _cpu(fields)) if fields else Usage(0, 0.0)


def thread_cpu(pid: int, thread: int) -> float:
    """Seconds of CPU time that a thread has used; 0 when it is gone."""
    fields = _stat(f"/proc/{pid}/task/{thread}/stat")
    return _cpu(fields) if fields else 0.0


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped (SIGSTOP)."""
    return state(pid) == "T"


def state(pid: int, thread: int = 0) -> str:
    """The state of a process, or of one of its threads, as its letter; empty when it is gone."""
    path = f"/proc/{pid}/task/{thread}/stat" if thread else f"/proc/{pid}/stat"
    return b"".join(_stat(path)[:1]).decode()


def stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on, the state; empty when it is gone."""
    return _stat(f"/proc/{pid}/stat")


def has_terminal() -> bool:
    """Whether this process has a controlling terminal (credentials(7))."""
    return _stat("/proc/self/stat")[4:5] not in ([], [b"0"])


def _stat(path: str) -> list[bytes]:
    """The fields of proc(5), without the first two; empty when it is gone."""
    try:
        with open(path, "rb") as file:
            stat = file.read()
    except OSError:
        return []
    # The name (field 2) may hold anything, also spaces and parentheses.
    return stat[stat.rindex(b")") + 2 :].split()


def _cpu(fields: list[bytes]) -> float:
    return (int(fields[11]) + int(fields[12])) / _TICKS
