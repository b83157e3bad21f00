"""What processes cost, read from /proc: CPU time, memory, who descends from whom.

Knows nothing of servers or peers. ``proc`` is a folder so that tests can fake one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says, as far as it is needed here."""

    pid: int
    state: str
    parent: int
    session: int
    ticks: int
    """User and system time of the process and of its children that it has waited for."""
    started: int
    """Clock ticks after boot: with the pid, the identity of a process."""

    @property
    def alive(self) -> bool:
        """Whether it runs: a zombie does not."""
        return self.state not in "ZX"


def parse_stat(line: str) -> Stat:
    """One line of /proc/PID/stat. The name may hold anything, also spaces and parentheses."""
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return Stat(
        pid=int(pid),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=sum(map(int, fields[11:15])),
        started=int(fields[19]),
    )


def stat(pid: int, proc: Path = PROC) -> Stat | None:
    """None when there is no such process."""
    try:
        return parse_stat((proc / str(pid) / "stat").read_text())
    except OSError:
        return None


def all_stats(proc: Path = PROC) -> dict[int, Stat]:
    """Every process there is."""
    pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    return {found.pid: found for pid in pids if (found := stat(pid, proc))}


def family(root: int, proc: Path = PROC) -> list[Stat]:
    """``root``, all that descend from it, and all of the session it leads.

    The session holds those whose parent has died; descent those that left the session.
    """
    everyone = all_stats(proc)
    by_parent: dict[int, list[Stat]] = {}
    for found in everyone.values():
        by_parent.setdefault(found.parent, []).append(found)
    members = {root: everyone[root]} if root in everyone else {}
    todo = [root]
    while todo:
        children = by_parent.get(todo.pop(0), [])
        members |= {child.pid: child for child in children}
        todo += [child.pid for child in children]
    members |= {found.pid: found for found in everyone.values() if found.session == root}
    return list(members.values())


def cpu_seconds(processes: Iterable[Stat]) -> float:
    """What all of them together have used, with the children they have waited for.

    Stays right when a child ends between two readings, as long as its parent waits for it.
    A tick is 10 ms: meaningful over seconds only.
    """
    return sum(process.ticks for process in processes) / TICKS


def stolen_seconds(proc: Path = PROC) -> float:
    """That the machine's host has given to others, on all CPUs together (proc_stat(5))."""
    fields = (proc / "stat").read_text().partition("\n")[0].split()
    return int(fields[8]) / TICKS


def exact_cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """Of all living threads of one process, to the nanosecond (the scheduler's own books)."""
    tasks = (proc / str(pid) / "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def threads(process: Stat, proc: Path = PROC) -> int:
    """How many it has now; 0 when it has just ended."""
    try:
        return len(os.listdir(proc / str(process.pid) / "task"))
    except OSError:
        return 0


def parse_pss(rollup: str) -> int:
    """Bytes of proportional set size in the text of /proc/PID/smaps_rollup."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def memory(processes: Iterable[Stat], proc: Path = PROC) -> int:
    """PSS of all of them in bytes: what is shared is counted once."""
    return sum(_pss(process.pid, proc) for process in processes)


def _pss(pid: int, proc: Path) -> int:
    try:
        return parse_pss((proc / str(pid) / "smaps_rollup").read_text())
    except OSError:  # it has just ended
        return 0
