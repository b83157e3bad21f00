"""How many CPUs and how much memory this process may use, and why.

Run by the primary at start and again for `scale auto`. Everything is read below a given root, so
that a test is a folder of files and needs no container. This module knows nothing of workers
beyond their number.

The one rule for what is read: a source that is missing, unreadable, zero, negative or not
understood says nothing. Too many workers on an odd machine is a smaller fault than none at all.

Where a limit is found (cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5)):

* /proc/self/cgroup names the cgroup of the process in each hierarchy, as seen from the root of its
  cgroup namespace; /proc/self/mountinfo says which part of a hierarchy is mounted where.
* A controller lives in exactly one hierarchy: its v1 one where that is mounted, else the v2 one.
  Both kinds at once ("hybrid") are common, so this is decided for each controller.
* A cgroup is bound by its ancestors too, and a limit set on a pod or a slice is not repeated below
  it. Hence the walk from the leaf up to the mount point, which is as far as can be seen.

The files of v1 and v2 have different names, so once the directories are known their
version need not be remembered.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_UNIFIED = "cgroup2"
"""Stands for the v2 hierarchy where v1 has the name of a controller."""

_DEFAULT_PERIOD_US = "100000"
"""Period of a `cpu.max` that shows a quota only (kernel documentation, cgroup-v2: 100 ms)."""

_UNLIMITED_BYTES = 2**60
"""From here on a memory limit is none. v1 has no "max": it shows the largest multiple of the page
size that fits a signed 64-bit number (0x7ffffffffffff000 with 4 KiB pages)."""

_CPUSET_FILES = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
"""v2, then v1. What is in effect comes first: `cpuset.cpus` is only what was asked for."""

_MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""v2 hard limit, v2 limit above which the kernel throttles to reclaim, v1 hard limit."""


@dataclass(frozen=True, slots=True)
class CpuLimits:
    """What bounds the CPU use of this process; `None` where nothing does."""

    affinity: int
    """CPUs the scheduler may run this process on. The kernel has already cut it to the cpuset."""
    cores: int
    """CPUs online on the machine."""
    cpuset: int | None = None
    """CPUs in the cpuset of the cgroup."""
    quota: float | None = None
    """Least CPU quota of the cgroup and its ancestors, in CPUs: 1.5 is 150 ms in each 100 ms."""

    @property
    def cpus(self) -> int:
        """The CPUs this process may keep busy: the least limit, rounded up, at least 1."""
        bounds = [self.affinity, self.cpuset, self.quota]
        return max(1, math.ceil(min(bound for bound in bounds if bound is not None)))


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many workers to run and what decided it; as text `2: cpu quota 1.5 of 8 cores`."""

    workers: int
    reason: str

    def __str__(self) -> str:
        """What `launcher sizing` prints and `list` shows."""
        return f"{self.workers}: {self.reason}"


def size(
    workers: int | None = None,
    web_concurrency: int | None = None,
    limits: CpuLimits | None = None,
) -> Sizing:
    """Decide the number of workers: `--workers`, else `WEB_CONCURRENCY`, else one per CPU.

    `limits` defaults to those of this process, and is looked at only if nothing was asked for.
    Raises `ValueError` if the number asked for is below 1: correcting it here would hide a mistake.
    """
    for asked, source in ((workers, "--workers"), (web_concurrency, "WEB_CONCURRENCY")):
        if asked is not None:
            if asked < 1:
                raise ValueError(f"{source} must be at least 1, not {asked}")
            return Sizing(asked, source)
    found = limits or cpu_limits()
    return Sizing(found.cpus, cpu_reason(found))


def cpu_reason(limits: CpuLimits) -> str:
    """Say in a few words which limit decided `limits.cpus`.

    The least limit is named, compared before rounding: 1.5 CPUs on a machine of 2 is news, although
    2 workers come out either way. Of equals the first counts: a cpuset narrows the affinity, so
    where both say 2 the cpuset is the cause.
    """
    named = (
        (limits.cpuset, "cpuset"),
        (limits.affinity, "CPU affinity"),
        (limits.quota, "cpu quota"),
    )
    bounds = [(bound, name) for bound, name in named if bound is not None]
    least, name = min(bounds, key=lambda pair: pair[0])
    if least >= limits.cores:
        return "one per CPU"
    return f"{name} {least:.4g} of {limits.cores} {'core' if limits.cores == 1 else 'cores'}"


def available_cpus(root: str = "/", affinity: int | None = None) -> int:
    """Answer how many CPUs this process may keep busy, at least 1; arguments as `cpu_limits`."""
    return cpu_limits(root, affinity).cpus


def cpu_limits(root: str = "/", affinity: int | None = None) -> CpuLimits:
    """Read the limits on CPU use. Never raises for what it finds, or does not find, below `root`.

    `root` holds proc and sys; `affinity` is a number of CPUs, by default that of this thread
    (sched_getaffinity(2)).
    """
    base = Path(root)
    usable = len(os.sched_getaffinity(0)) if affinity is None else affinity
    online = _count_cpus(_read(base / "sys/devices/system/cpu/online"))
    cpusets = (_cpuset(directory) for directory in _ancestry(base, "cpuset"))
    quotas = (_quota(directory) for directory in _ancestry(base, "cpu"))
    return CpuLimits(
        affinity=usable,
        # lxcfs may show fewer CPUs online than the scheduler uses: "8 of 2 cores" is no help.
        cores=max(usable, online or 1),
        # The nearest that says something: an empty cpuset means that of the parent.
        cpuset=next(filter(None, cpusets), None),
        quota=min(filter(None, quotas), default=None),
    )


def memory_limit(root: str = "/") -> int | None:
    """Answer the least memory limit of the cgroup and its ancestors in bytes; None: no limit.

    The memory of the machine is not considered. Never raises for what it finds below `root`.
    """
    directories = _ancestry(Path(root), "memory")
    limits = (_positive(_read(place / name)) for place in directories for name in _MEMORY_FILES)
    least = min(filter(None, limits), default=_UNLIMITED_BYTES)
    return least if least < _UNLIMITED_BYTES else None


# One directory of a cgroup.


def _cpuset(directory: Path) -> int | None:
    """Answer how many CPUs this cgroup may use, None if it does not say."""
    counts = (_count_cpus(_read(directory / name)) for name in _CPUSET_FILES)
    return next(filter(None, counts), None)


def _quota(directory: Path) -> float | None:
    """Answer the CPU quota of this cgroup in CPUs, None if it has none."""
    match _read(directory / "cpu.max").split():
        case [quota]:
            return _ratio(quota, _DEFAULT_PERIOD_US)
        case [quota, period]:
            return _ratio(quota, period)
    return _ratio(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))


# Which directories.


class _Mount(NamedTuple):
    """One line of mountinfo that concerns cgroups."""

    controllers: frozenset[str]
    """What is mounted: for v1 every mount option, controllers among them; else `_UNIFIED`."""
    root: str
    """Path within the hierarchy of the directory that is mounted."""
    point: str
    """Where it is mounted."""


def _ancestry(base: Path, controller: str) -> list[Path]:
    """List the directories that may limit `controller` for this process, leaf first.

    Some may not exist: the cgroup may be gone, or another mount may cover it. Several mounts of a
    hierarchy are all walked; they show the same cgroups, each as far up as its root allows.
    """
    cgroups = _cgroups(_read(base / "proc/self/cgroup"))
    mounts = _mounts(_read(base / "proc/self/mountinfo"))
    for hierarchy in (controller, _UNIFIED):
        candidates = [mount for mount in mounts if hierarchy in mount.controllers]
        if hierarchy in cgroups and candidates:
            return _directories(base, cgroups[hierarchy], candidates)
    return []


def _directories(base: Path, cgroup: str, mounts: list[_Mount]) -> list[Path]:
    """List what the mounts of one hierarchy show of `cgroup` and its ancestors, leaf first."""
    shown = [(mount, _below(cgroup, mount.root)) for mount in mounts]
    if all(path is None for _, path in shown):
        # Cgroup namespaces: the name of the cgroup is of no use here ("/../.."), or the root of the
        # mount has no name here. What is mounted is then most likely the container's own cgroup.
        shown = [(mount, PurePosixPath()) for mount in mounts]
    return [
        base / mount.point.lstrip("/") / ancestor
        for mount, path in shown
        if path is not None
        for ancestor in (path, *path.parents)
    ]


def _below(cgroup: str, root: str) -> PurePosixPath | None:
    """Answer the path of `cgroup` from `root`, a directory of its hierarchy; None if not below."""
    try:
        path = PurePosixPath(cgroup).relative_to(root)
    except ValueError:
        return None
    return None if ".." in path.parts else path


def _cgroups(text: str) -> dict[str, str]:
    """Map every hierarchy in /proc/self/cgroup to the path of the process in it (cgroups(7)).

    Lines are `5:cpu,cpuacct:/path` (v1), `1:name=systemd:/path` (v1 without a controller:
    never looked up here), `0::/path` (v2). The path may hold colons.
    """
    lines = [line.split(":", maxsplit=2) for line in text.split("\n")]
    return {
        name or _UNIFIED: fields[2]
        for fields in lines
        if len(fields) == 3
        for name in fields[1].split(",")
    }


def _mounts(text: str) -> list[_Mount]:
    """List the cgroup mounts in /proc/self/mountinfo."""
    return [mount for line in text.split("\n") if (mount := _mount(line))]


def _mount(line: str) -> _Mount | None:
    """Read one line of mountinfo; None if it is malformed or no cgroup mount.

    `36 35 98:0 ROOT POINT rw,noatime [any number of tags] - TYPE SOURCE OPTIONS`; see
    proc_pid_mountinfo(5). Blanks within a field are escaped, and a source may be empty.
    """
    place, _, filesystem = line.partition(" - ")
    match place.split(" "), filesystem.split(" "):
        case [_, _, _, root, point, _, *_], ["cgroup2", _, _]:
            return _Mount(frozenset({_UNIFIED}), _unescape(root), _unescape(point))
        case [_, _, _, root, point, _, *_], ["cgroup", _, options]:
            return _Mount(frozenset(options.split(",")), _unescape(root), _unescape(point))
    return None


# Texts of the kernel.


def _read(file: Path) -> str:
    """Answer the text of `file`, "" if it cannot be read.

    The text holds paths of any bytes: it is decoded as file names are, and no "\\r" in it is made a
    newline. `ValueError` comes from a path with a zero byte, found in a damaged text.
    """
    try:
        return os.fsdecode(file.read_bytes())
    except (OSError, ValueError):
        return ""


def _unescape(field: str) -> str:
    """Undo the escapes of mountinfo: `\\040` is a blank; also for tab, newline, `#`, backslash."""
    return re.sub(r"\\([01][0-7]{2})", lambda code: chr(int(code[1], 8)), field)


def _positive(text: str) -> int | None:
    """Answer the number above 0 that `text` is; None for "max", "-1", "0" and anything else."""
    digits = re.fullmatch(r"[0-9]{1,20}", text.strip())
    return int(digits[0]) or None if digits else None


def _ratio(quota: str, period: str) -> float | None:
    """Answer the CPUs that `quota` in each `period` (both µs) amounts to, None if no limit."""
    used, within = _positive(quota), _positive(period)
    return used / within if used and within else None


def _count_cpus(text: str) -> int | None:
    """Count the CPUs of a list such as `0-3,8,10-11`; None if it is empty or malformed.

    The list format of cpuset(7). Five digits are more than any kernel has CPUs (8192), and keep a
    damaged list from costing memory.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        bounds = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if bounds is None:
            return None
        first, last = int(bounds[1]), int(bounds[2] or bounds[1])
        if last < first:
            return None
        cpus.update(range(first, last + 1))
    return len(cpus)
