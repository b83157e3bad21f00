"""Which process a cluster is, also when its pid is another's by now."""

from typing import NamedTuple, Self

from launcher.proc import stat, state

__all__ = ["ProcessId"]


class ProcessId(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    starttime: int
    """Clock ticks since boot: field 22 of /proc/<pid>/stat, see proc(5)."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The living process ``pid``; None if there is none, or only its zombie."""
        fields = stat(pid)
        return cls(pid, int(fields[19])) if fields and fields[0] not in b"ZX" else None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the first line of a ``lock`` file; None if it is not one (yet)."""
        match text.partition("\n")[0].split(" "):
            case [pid, starttime] if pid.isdecimal() and starttime.isdecimal():
                return cls(int(pid), int(starttime))
        return None

    def __str__(self) -> str:
        return f"{self.pid} {self.starttime}"

    def frozen(self) -> bool:
        """Whether it is stopped: by SIGSTOP, Ctrl-Z or a debugger."""
        return state(self.pid) in ("T", "t")

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self
