"""The machine a measurement was made on, and what was measured on it."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from benchmarks.toolbox import Toolbox


@dataclass(frozen=True)
class Machine:
    """What has to be known to compare figures."""

    cpu: str
    cores: int
    """That this process may use."""
    memory_gib: float
    kernel: str
    system: str
    date: str
    load: float
    """Load average of the last minute before the first measurement."""
    launcher: dict[str, str]
    """Versions in the launcher's environment."""
    peers: dict[str, str]
    """Versions of the peers and tools."""

    @property
    def busy(self) -> bool:
        """Whether something else runs, so that the figures are worth little."""
        return self.load > 0.3 * self.cores

    def versions(self) -> str:
        """Of the languages: what the figures depend on most."""
        python, node = self.launcher.get("python"), self.peers.get("node")
        return f"Python {python}" + (f", Node {node}" if node else "")

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB; {self.system}, "
            f"{self.kernel}; {self.date}, load before: {self.load:.2f}",
            f"launcher: {_listed(self.launcher)}",
            f"peers: {_listed(self.peers)}",
        ]


def describe(tools: Toolbox) -> Machine:
    """This machine, now."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        kernel=f"Linux {platform.release()}",
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=os.getloadavg()[0],
        launcher=tools.ours,
        peers=tools.versions,
    )


def cpu_model(cpuinfo: str) -> str:
    """The name in the text of /proc/cpuinfo; not every architecture gives one."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _listed(versions: dict[str, str]) -> str:
    # wrk, node and taskset say their own name in their version.
    return ", ".join(v if v.startswith(k) else f"{k} {v}" for k, v in versions.items())
