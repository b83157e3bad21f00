"""How many CPUs and how much memory: a table of machines, each a folder of files.

A machine is a dict of path to text; the text `None` makes a directory, which is a file that cannot
be read. Unless a case says otherwise the machine has 8 CPUs, all allowed by the affinity.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from launcher.sizing import (
    CpuLimits,
    Sizing,
    available_cpus,
    cpu_limits,
    cpu_reason,
    memory_limit,
    size,
)

Files = dict[str, str | None]
MakeRoot = Callable[[Files], str]

CGROUP = "proc/self/cgroup"
MOUNTS = "proc/self/mountinfo"
ONLINE = "sys/devices/system/cpu/online"
FS = "sys/fs/cgroup"

PROC = "22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw\n"
V2 = f"30 24 0:26 / /{FS} rw,nosuid,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_CPU = f"32 31 0:29 / /{FS}/cpu rw,relatime - cgroup cgroup rw,cpu\n"
V1_CPUSET = f"34 31 0:31 / /{FS}/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset\n"
V1_MEMORY = f"35 31 0:32 / /{FS}/memory rw,relatime - cgroup cgroup rw,memory\n"
V1_SYSTEMD = f"40 31 0:37 / /{FS}/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
UNIFIED = f"41 31 0:38 / /{FS}/unified rw,relatime - cgroup2 cgroup2 rw\n"

V1_SENTINEL = str(0x7FFFFFFFFFFFF000)


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Write a machine below `tmp_path` and answer its root."""

    def make(files: Files) -> str:
        for name, text in files.items():
            path = tmp_path / name
            if text is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(os.fsencode(text))
        return str(tmp_path)

    return make


class Cpu(NamedTuple):
    """A machine and the limits expected of it."""

    name: str
    files: Files
    cpus: int
    quota: float | None = None
    cpuset: int | None = None
    affinity: int = 8


def v2(text: str | None) -> Files:
    """A v2 machine: the process in /app with this cpu.max."""
    return {CGROUP: "0::/app\n", MOUNTS: PROC + V2, f"{FS}/app/cpu.max": text}


def v1(quota: str | None, period: str | None = "100000\n") -> Files:
    """A v1 machine: the process in /app with this quota and period."""
    return {
        CGROUP: "3:cpuset:/\n1:cpu:/app\n",
        MOUNTS: PROC + V1_CPU + V1_CPUSET,
        f"{FS}/cpu/app/cpu.cfs_quota_us": quota,
        f"{FS}/cpu/app/cpu.cfs_period_us": period,
    }


def cpuset(text: str) -> Files:
    """A v2 machine: the process in /app with this list of CPUs in effect."""
    return {CGROUP: "0::/app\n", MOUNTS: V2, f"{FS}/app/cpuset.cpus.effective": text}


def mounted(root: str, point: str, path: str) -> Files:
    """A v2 machine with `root` mounted on `point`, both as in mountinfo; the process in `path`."""
    return {
        CGROUP: f"0::{path}\n",
        MOUNTS: f"30 24 0:26 {root} {point} rw - cgroup2 cgroup2 rw\n",
    }


CPU_CASES = [
    # Nothing to go by.
    Cpu("nothing at all", {}, 8),
    Cpu("affinity lower", {}, 1, affinity=1),
    Cpu("proc only, no cgroup mount", {CGROUP: "0::/app\n", MOUNTS: PROC}, 8),
    Cpu("cgroup file missing", {MOUNTS: V2, f"{FS}/cpu.max": "100000 100000\n"}, 8),
    Cpu("mountinfo missing", {CGROUP: "0::/\n", f"{FS}/cpu.max": "100000 100000\n"}, 8),
    Cpu("proc files unreadable", {CGROUP: None, MOUNTS: None}, 8),
    # v2 quota.
    Cpu("v2 no quota", v2("max 100000\n"), 8),
    Cpu("v2 quota 1.5 is 2", v2("150000 100000\n"), 2, quota=1.5),
    Cpu("v2 quota 0.5 is 1", v2("50000 100000\n"), 1, quota=0.5),
    Cpu("v2 quota 2.0 is 2", v2("200000 100000\n"), 2, quota=2.0),
    Cpu("v2 quota 2.01 is 3", v2("201000 100000\n"), 3, quota=2.01),
    Cpu("v2 period of 50 ms", v2("150000 50000\n"), 3, quota=3.0),
    Cpu("v2 period missing", v2("150000\n"), 2, quota=1.5),
    Cpu("v2 max, period missing", v2("max\n"), 8),
    Cpu("v2 quota above the machine", v2("1600000 100000\n"), 8, quota=16.0),
    Cpu("v2 quota above the affinity", v2("400000 100000\n"), 3, quota=4.0, affinity=3),
    Cpu("v2 quota zero", v2("0 100000\n"), 8),
    Cpu("v2 period zero", v2("150000 0\n"), 8),
    Cpu("v2 quota negative", v2("-1 100000\n"), 8),
    Cpu("v2 quota garbage", v2("lots 100000\n"), 8),
    Cpu("v2 quota is not a whole number", v2("1.5 1\n"), 8),
    Cpu("v2 quota with underscore", v2("150_000 100000\n"), 8),
    Cpu("v2 quota with a foreign digit", v2("\N{ARABIC-INDIC DIGIT ONE}00000 100000\n"), 8),
    Cpu("v2 quota of 5000 digits", v2("9" * 5000 + " 100000\n"), 8),
    Cpu("v2 period garbage", v2("150000 often\n"), 8),
    Cpu("v2 too many numbers", v2("150000 100000 100000\n"), 8),
    Cpu("v2 empty file", v2(""), 8),
    Cpu("v2 binary file", v2("\udcff\x00\udcfe"), 8),
    Cpu("v2 unreadable", v2(None), 8),
    # v2 ancestors.
    Cpu(
        "v2 parent tighter",
        {
            CGROUP: "0::/pod/app/leaf\n",
            MOUNTS: V2,
            f"{FS}/pod/cpu.max": "100000 100000\n",
            f"{FS}/pod/app/cpu.max": "300000 100000\n",
            f"{FS}/pod/app/leaf/cpu.max": "max 100000\n",
        },
        1,
        quota=1.0,
    ),
    Cpu(
        "v2 leaf tighter",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2,
            f"{FS}/pod/cpu.max": "400000 100000\n",
            f"{FS}/pod/app/cpu.max": "250000 100000\n",
        },
        3,
        quota=2.5,
    ),
    Cpu(
        "v2 garbage in the leaf hides no parent",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2,
            f"{FS}/pod/cpu.max": "300000 100000\n",
            f"{FS}/pod/app/cpu.max": "?\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "v2 neighbours do not count",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2,
            f"{FS}/pod/other/cpu.max": "100000 100000\n",
            f"{FS}/pod/app/below/cpu.max": "100000 100000\n",
        },
        8,
    ),
    Cpu(
        "v2 cgroup is gone",
        {
            CGROUP: "0::/pod/app (deleted)\n",
            MOUNTS: V2,
            f"{FS}/pod/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "v2 limit at the mount point",
        {CGROUP: "0::/\n", MOUNTS: V2, f"{FS}/cpu.max": "200000 100000\n"},
        2,
        quota=2.0,
    ),
    # cpuset.
    Cpu("cpuset list", cpuset("0-3,6\n"), 5, cpuset=5),
    Cpu("cpuset of one", cpuset("7\n"), 1, cpuset=1),
    Cpu("cpuset of ranges", cpuset("0-1,4,6-7\n"), 5, cpuset=5),
    Cpu("cpuset overlapping", cpuset("0-2,1-3,3\n"), 4, cpuset=4),
    Cpu("cpuset wider than the affinity", cpuset("0-3,8,10-11\n"), 2, cpuset=7, affinity=2),
    Cpu("cpuset empty", cpuset("\n"), 8),
    Cpu("cpuset garbage", cpuset("0-3,none\n"), 8),
    Cpu("cpuset backwards", cpuset("3-0\n"), 8),
    Cpu("cpuset partly backwards", cpuset("0-1,7-4\n"), 8),
    Cpu("cpuset negative", cpuset("-1\n"), 8),
    Cpu("cpuset trailing comma", cpuset("0-1,\n"), 8),
    Cpu("cpuset absurd", cpuset("0-99999999999\n"), 8),
    Cpu(
        "cpuset only at an ancestor",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2,
            f"{FS}/pod/cpuset.cpus.effective": "0-2\n",
            f"{FS}/cpuset.cpus.effective": "0-7\n",
        },
        3,
        cpuset=3,
    ),
    Cpu(
        "cpuset nearest wins",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2,
            f"{FS}/pod/app/cpuset.cpus.effective": "0-3\n",
            f"{FS}/pod/cpuset.cpus.effective": "0-1\n",
        },
        4,
        cpuset=4,
    ),
    Cpu(
        "cpuset tighter than the quota",
        cpuset("0-1\n") | {f"{FS}/app/cpu.max": "350000 100000\n"},
        2,
        quota=3.5,
        cpuset=2,
    ),
    Cpu(
        "quota tighter than the cpuset",
        cpuset("0-5\n") | {f"{FS}/app/cpu.max": "350000 100000\n"},
        4,
        quota=3.5,
        cpuset=6,
    ),
    # v1.
    Cpu("v1 no quota", v1("-1\n"), 8),
    Cpu("v1 quota 1.5 is 2", v1("150000\n"), 2, quota=1.5),
    Cpu("v1 quota 0.5 is 1", v1("50000\n"), 1, quota=0.5),
    Cpu("v1 quota zero", v1("0\n"), 8),
    Cpu("v1 quota garbage", v1("much\n"), 8),
    Cpu("v1 quota unreadable", v1(None), 8),
    Cpu("v1 period zero", v1("150000\n", "0\n"), 8),
    Cpu("v1 period negative", v1("150000\n", "-100000\n"), 8),
    Cpu("v1 period unreadable", v1("150000\n", None), 8),
    Cpu(
        "v1 parent tighter",
        {
            CGROUP: "1:cpu:/pod/app\n",
            MOUNTS: V1_CPU,
            f"{FS}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{FS}/cpu/cpu.cfs_period_us": "100000\n",
            f"{FS}/cpu/pod/cpu.cfs_quota_us": "250000\n",
            f"{FS}/cpu/pod/cpu.cfs_period_us": "100000\n",
            f"{FS}/cpu/pod/app/cpu.cfs_quota_us": "200000\n",
            f"{FS}/cpu/pod/app/cpu.cfs_period_us": "50000\n",
        },
        3,
        quota=2.5,
    ),
    Cpu(
        "v1 cpu and cpuset in different cgroups",
        {
            CGROUP: "3:cpuset:/set\n1:cpu:/app\n",
            MOUNTS: V1_CPU + V1_CPUSET,
            f"{FS}/cpu/app/cpu.cfs_quota_us": "600000\n",
            f"{FS}/cpu/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/cpuset/set/cpuset.cpus": "0-3\n",
        },
        4,
        quota=6.0,
        cpuset=4,
    ),
    Cpu(
        "v1 effective cpuset before the one asked for",
        {
            CGROUP: "3:cpuset:/set\n",
            MOUNTS: V1_CPUSET,
            f"{FS}/cpuset/set/cpuset.effective_cpus": "0-1\n",
            f"{FS}/cpuset/set/cpuset.cpus": "0-5\n",
        },
        2,
        cpuset=2,
    ),
    Cpu(
        "v1 empty cpuset is that of the parent",
        {
            CGROUP: "3:cpuset:/set\n",
            MOUNTS: V1_CPUSET,
            f"{FS}/cpuset/set/cpuset.cpus": "\n",
            f"{FS}/cpuset/cpuset.cpus": "0-4\n",
        },
        5,
        cpuset=5,
    ),
    Cpu(
        "v1 co-mounted",
        {
            CGROUP: "4:cpu,cpuacct:/app\n",
            MOUNTS: f"32 31 0:29 / /{FS}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
            f"{FS}/cpu,cpuacct/app/cpu.cfs_quota_us": "300000\n",
            f"{FS}/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "v1 everything in one hierarchy",
        {
            CGROUP: "1:cpuset,cpu,memory:/app\n",
            MOUNTS: "32 31 0:29 / /cg rw - cgroup none rw,cpuset,cpu,memory,release_agent=/x\n",
            "cg/app/cpu.cfs_quota_us": "400000\n",
            "cg/app/cpu.cfs_period_us": "100000\n",
            "cg/app/cpuset.cpus": "0-2\n",
        },
        3,
        quota=4.0,
        cpuset=3,
    ),
    Cpu(
        "v1 named hierarchy ignored",
        {
            CGROUP: "1:name=systemd:/app\n",
            MOUNTS: V1_SYSTEMD,
            f"{FS}/systemd/app/cpu.cfs_quota_us": "100000\n",
            f"{FS}/systemd/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/systemd/app/cpu.max": "100000 100000\n",
        },
        8,
    ),
    # Hybrid.
    Cpu(
        "hybrid, cpu in v1",
        {
            CGROUP: "1:cpu:/app\n9:name=systemd:/\n0::/app\n",
            MOUNTS: UNIFIED + V1_CPU + V1_SYSTEMD,
            f"{FS}/cpu/app/cpu.cfs_quota_us": "300000\n",
            f"{FS}/cpu/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/unified/app/cpu.max": "100000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "hybrid, cpu in v2",
        {
            CGROUP: "4:memory:/app\n0::/app\n",
            MOUNTS: V1_MEMORY + UNIFIED,
            f"{FS}/memory/app/cpu.cfs_quota_us": "100000\n",
            f"{FS}/memory/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/unified/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "hybrid, v1 without a limit is not overruled by v2",
        {
            CGROUP: "1:cpu:/app\n0::/app\n",
            MOUNTS: V1_CPU + UNIFIED,
            f"{FS}/cpu/app/cpu.cfs_quota_us": "-1\n",
            f"{FS}/cpu/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/unified/app/cpu.max": "100000 100000\n",
        },
        8,
    ),
    Cpu(
        "hybrid, v1 line but only v2 mounted",
        {
            CGROUP: "1:cpu:/elsewhere\n0::/app\n",
            MOUNTS: UNIFIED,
            f"{FS}/unified/app/cpu.max": "300000 100000\n",
            f"{FS}/unified/elsewhere/cpu.max": "100000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "hybrid, v1 mounted but no line",
        {
            CGROUP: "0::/app\n",
            MOUNTS: V1_CPU + UNIFIED,
            f"{FS}/cpu/app/cpu.cfs_quota_us": "100000\n",
            f"{FS}/cpu/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/unified/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "hybrid, cpu in v1 and cpuset in v2",
        {
            CGROUP: "1:cpu:/app\n0::/app\n",
            MOUNTS: V1_CPU + UNIFIED,
            f"{FS}/cpu/app/cpu.cfs_quota_us": "300000\n",
            f"{FS}/cpu/app/cpu.cfs_period_us": "100000\n",
            f"{FS}/unified/app/cpuset.cpus.effective": "0-4\n",
        },
        3,
        quota=3.0,
        cpuset=5,
    ),
    # The texts of proc.
    Cpu(
        "colon in the cgroup path",
        {CGROUP: "0::/a:b/c:d\n", MOUNTS: V2, f"{FS}/a:b/c:d/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "colon in a v1 cgroup path",
        {
            CGROUP: "1:cpu:/a:cpuset:b\n",
            MOUNTS: V1_CPU,
            f"{FS}/cpu/a:cpuset:b/cpu.cfs_quota_us": "300000\n",
            f"{FS}/cpu/a:cpuset:b/cpu.cfs_period_us": "100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "odd bytes in the cgroup path",
        {
            CGROUP: "0::/a b\r\u2028\udcff\n",
            MOUNTS: V2,
            f"{FS}/a b\r\u2028\udcff/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "escapes in the mount point",
        mounted("/", r"/my\040cgroups\011\134040", "/app")
        | {"my cgroups\t\\040/app/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "escapes in the mount root",
        mounted(r"/my\040pod\134x", "/cg", "/my pod\\x/app")
        | {"cg/app/cpu.max": "300000 100000\n", "cg/cpu.max": "500000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "many tags in mountinfo",
        {
            CGROUP: "0::/app\n",
            MOUNTS: "1 2 0:3 / /cg rw shared:4 master:5 propagate_from:6 - cgroup2 none rw\n",
            "cg/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "no source in mountinfo",
        {
            CGROUP: "0::/app\n",
            MOUNTS: "1 2 0:3 / /cg rw - cgroup2  rw\n",
            "cg/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "damaged lines are skipped",
        {
            CGROUP: "\n:\n::\nnonsense\n1:cpu\n0::/app\n",
            MOUNTS: "\n-\n1 2 - cgroup2\n1 2 0:3 / /x rw shared:1 cgroup2 none rw\n"
            "1 2 0:3 / /y rw - cgroup2\n1 2 0:3 / - rw - ext4 - rw\n" + V2,
            f"{FS}/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu("zero byte in the path", {CGROUP: "0::/a\0b\n", MOUNTS: V2}, 8),
    Cpu(
        "path too long",
        {CGROUP: f"0::/pod/{'x' * 300}\n", MOUNTS: V2, f"{FS}/pod/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    # Containers.
    Cpu(
        "container sees the host's path",
        mounted("/docker/abc", f"/{FS}", "/docker/abc")
        | {f"{FS}/cpu.max": "300000 100000\n", f"{FS}/docker/abc/cpu.max": "100000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "nested within the container",
        mounted("/docker/abc", f"/{FS}", "/docker/abc/sub")
        | {f"{FS}/cpu.max": "500000 100000\n", f"{FS}/sub/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "mount root of another cgroup",
        mounted("/docker/abc", f"/{FS}", "/docker/abcdef")
        | {f"{FS}/cpu.max": "300000 100000\n", f"{FS}/def/cpu.max": "100000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "v1 container sees the host's path",
        {
            CGROUP: "4:cpu,cpuacct:/docker/abc\n",
            MOUNTS: f"1 2 0:3 /docker/abc /{FS}/cpu ro master:9 - cgroup cgroup rw,cpu,cpuacct\n",
            f"{FS}/cpu/cpu.cfs_quota_us": "150000\n",
            f"{FS}/cpu/cpu.cfs_period_us": "100000\n",
        },
        2,
        quota=1.5,
    ),
    Cpu(
        "namespace, process outside",
        mounted("/", f"/{FS}", "/../..") | {f"{FS}/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "namespace, process beside",
        mounted("/", f"/{FS}/ns", "/../other")
        | {f"{FS}/ns/cpu.max": "300000 100000\n", f"{FS}/other/cpu.max": "100000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "namespace, mount from outside",
        mounted("/..", f"/{FS}", "/") | {f"{FS}/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "namespace, both outside",
        mounted("/..", f"/{FS}", "/../other")
        | {f"{FS}/cpu.max": "max 100000\n", f"{FS}/other/cpu.max": "300000 100000\n"},
        3,
        quota=3.0,
    ),
    Cpu(
        "several mounts, one shows the cgroup",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: "1 2 0:3 /other /a rw - cgroup2 none rw\n"
            "1 2 0:3 /pod /b rw - cgroup2 none rw\n",
            "a/cpu.max": "100000 100000\n",
            "b/app/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "several mounts, one shows more ancestors",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: "1 2 0:3 /pod /b rw - cgroup2 none rw\n1 2 0:3 / /a rw - cgroup2 none rw\n",
            "a/pod/cpu.max": "300000 100000\n",
            "b/app/cpu.max": "500000 100000\n",
        },
        3,
        quota=3.0,
    ),
    Cpu(
        "one mount covers another",
        {
            CGROUP: "0::/pod/app\n",
            MOUNTS: V2 + f"31 30 0:26 /pod/app /{FS} rw - cgroup2 cgroup2 rw\n",
            f"{FS}/cpu.max": "300000 100000\n",
        },
        3,
        quota=3.0,
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CPU_CASES])
def test_cpus(make_root: MakeRoot, case: Cpu) -> None:
    root = make_root({ONLINE: "0-7\n", **case.files})

    assert cpu_limits(root, case.affinity) == CpuLimits(
        affinity=case.affinity, cores=8, cpuset=case.cpuset, quota=case.quota
    )
    assert available_cpus(root, case.affinity) == case.cpus


def memory_v2(**files: str | None) -> Files:
    """A v2 machine: the process in /pod/app; the files are of /pod/app unless `pod_…`."""
    base: Files = {CGROUP: "0::/pod/app\n", MOUNTS: V2}
    for name, text in files.items():
        folder = f"{FS}/pod" if name.startswith("pod_") else f"{FS}/pod/app"
        base[f"{folder}/memory.{name.removeprefix('pod_')}"] = text
    return base


def memory_v1(leaf: str, parent: str = V1_SENTINEL) -> Files:
    """A v1 machine: the process in /pod/app with these limits in bytes."""
    return {
        CGROUP: "4:memory:/pod/app\n",
        MOUNTS: V1_MEMORY,
        f"{FS}/memory/memory.limit_in_bytes": f"{V1_SENTINEL}\n",
        f"{FS}/memory/pod/memory.limit_in_bytes": f"{parent}\n",
        f"{FS}/memory/pod/app/memory.limit_in_bytes": f"{leaf}\n",
    }


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param({}, None, id="nothing at all"),
        pytest.param(memory_v2(), None, id="v2 without files"),
        pytest.param(memory_v2(max="max\n", high="max\n"), None, id="v2 max"),
        pytest.param(memory_v2(max="536870912\n"), 2**29, id="v2 hard limit"),
        pytest.param(memory_v2(max="536870912\n", high="268435456\n"), 2**28, id="v2 high lower"),
        pytest.param(memory_v2(max="268435456\n", high="536870912\n"), 2**28, id="v2 high above"),
        pytest.param(memory_v2(max="max\n", high="268435456\n"), 2**28, id="v2 high only"),
        pytest.param(memory_v2(max="536870912", pod_max="4096"), 4096, id="v2 parent tighter"),
        pytest.param(memory_v2(max="536870912", pod_high="4096"), 4096, id="v2 parent's high"),
        pytest.param(memory_v2(max="4096", pod_max="8192"), 4096, id="v2 leaf tighter"),
        pytest.param(memory_v2(max="0\n"), None, id="v2 zero"),
        pytest.param(memory_v2(max="-1\n"), None, id="v2 negative"),
        pytest.param(memory_v2(max="512M\n", pod_max="8192"), 8192, id="v2 garbage"),
        pytest.param(memory_v2(max=None, pod_max="8192"), 8192, id="v2 unreadable"),
        pytest.param(memory_v1(V1_SENTINEL), None, id="v1 sentinel"),
        pytest.param(memory_v1(str(2**63 - 2**16)), None, id="v1 sentinel of 64 KiB pages"),
        pytest.param(memory_v1(str(2**60)), None, id="v1 least unlimited"),
        pytest.param(memory_v1(str(2**60 - 4096)), 2**60 - 4096, id="v1 greatest limit"),
        pytest.param(memory_v1("536870912"), 2**29, id="v1 limit"),
        pytest.param(memory_v1("536870912", "4096"), 4096, id="v1 parent tighter"),
        pytest.param(memory_v1("-1", "4096"), 4096, id="v1 negative"),
        pytest.param(
            {
                CGROUP: "4:memory:/docker/abc\n0::/docker/abc\n",
                MOUNTS: f"1 2 0:3 /docker/abc /{FS}/memory ro - cgroup cgroup rw,memory\n"
                + UNIFIED,
                f"{FS}/memory/memory.limit_in_bytes": "8192\n",
                f"{FS}/unified/docker/abc/memory.max": "4096\n",
            },
            8192,
            id="hybrid, memory in v1 of a container",
        ),
        pytest.param(
            {
                CGROUP: "1:cpu:/\n0::/app\n",
                MOUNTS: V1_CPU + UNIFIED,
                f"{FS}/cpu/memory.limit_in_bytes": "4096\n",
                f"{FS}/unified/app/memory.max": "8192\n",
            },
            8192,
            id="hybrid, memory in v2",
        ),
    ],
)
def test_memory(make_root: MakeRoot, files: Files, limit: int | None) -> None:
    assert memory_limit(make_root(files)) == limit


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (CpuLimits(2, 2), "2: one per CPU"),
        (CpuLimits(1, 1), "1: one per CPU"),
        (CpuLimits(2, 2, cpuset=2, quota=2.0), "2: one per CPU"),
        (CpuLimits(8, 8, cpuset=64, quota=16.0), "8: one per CPU"),
        (CpuLimits(8, 8, quota=1.5), "2: cpu quota 1.5 of 8 cores"),
        (CpuLimits(2, 2, quota=1.5), "2: cpu quota 1.5 of 2 cores"),
        (CpuLimits(8, 8, quota=2.0), "2: cpu quota 2 of 8 cores"),
        (CpuLimits(1, 1, quota=0.5), "1: cpu quota 0.5 of 1 core"),
        (CpuLimits(8, 8, quota=1 / 3), "1: cpu quota 0.3333 of 8 cores"),
        (CpuLimits(64, 64, quota=12.25), "13: cpu quota 12.25 of 64 cores"),
        (CpuLimits(1, 2), "1: CPU affinity 1 of 2 cores"),
        (CpuLimits(1, 8, cpuset=2, quota=2.0), "1: CPU affinity 1 of 8 cores"),
        (CpuLimits(2, 8, cpuset=2), "2: cpuset 2 of 8 cores"),
        (CpuLimits(2, 8, quota=2.0), "2: CPU affinity 2 of 8 cores"),
        (CpuLimits(4, 8, cpuset=4, quota=2.5), "3: cpu quota 2.5 of 8 cores"),
        (CpuLimits(1, 8, quota=0.5), "1: cpu quota 0.5 of 8 cores"),
    ],
)
def test_reason(limits: CpuLimits, text: str) -> None:
    assert str(size(limits=limits)) == text
    assert cpu_reason(limits) == text.partition(": ")[2]


@pytest.mark.parametrize(
    ("workers", "web_concurrency", "sizing", "text"),
    [
        (4, None, Sizing(4, "--workers"), "4: --workers"),
        (4, 3, Sizing(4, "--workers"), "4: --workers"),
        (None, 3, Sizing(3, "WEB_CONCURRENCY"), "3: WEB_CONCURRENCY"),
        (None, None, Sizing(2, "cpuset 2 of 8 cores"), "2: cpuset 2 of 8 cores"),
        (1, None, Sizing(1, "--workers"), "1: --workers"),
    ],
)
def test_what_is_asked_for_comes_first(
    workers: int | None, web_concurrency: int | None, sizing: Sizing, text: str
) -> None:
    answer = size(workers, web_concurrency, CpuLimits(affinity=8, cores=8, cpuset=2))

    assert answer == sizing
    assert str(answer) == text


@pytest.mark.parametrize(
    ("workers", "web_concurrency", "message"),
    [
        (0, None, "--workers must be at least 1, not 0"),
        (-1, 3, "--workers must be at least 1, not -1"),
        (None, 0, "WEB_CONCURRENCY must be at least 1, not 0"),
    ],
)
def test_less_than_one_worker_is_refused(
    workers: int | None, web_concurrency: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        size(workers, web_concurrency)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({ONLINE: "0-15\n"}, 16, id="online"),
        pytest.param({ONLINE: "0-3,8-11\n"}, 8, id="some offline"),
        pytest.param({ONLINE: "0-1\n"}, 4, id="lxcfs shows fewer than the affinity"),
        pytest.param({ONLINE: "many\n"}, 4, id="garbage"),
        pytest.param({}, 4, id="missing"),
    ],
)
def test_cores_of_the_machine(make_root: MakeRoot, files: Files, cores: int) -> None:
    assert cpu_limits(make_root(files), affinity=4) == CpuLimits(affinity=4, cores=cores)


def test_affinity_is_that_of_this_process(make_root: MakeRoot) -> None:
    usable = len(os.sched_getaffinity(0))

    assert cpu_limits(make_root({})) == CpuLimits(affinity=usable, cores=usable)
    assert available_cpus(make_root({})) == usable


def test_this_machine() -> None:
    limits = cpu_limits()

    assert limits.affinity == len(os.sched_getaffinity(0))
    assert 1 <= available_cpus() <= limits.affinity <= limits.cores
    assert size() == Sizing(limits.cpus, cpu_reason(limits))


def test_never_below_one_and_never_above_a_limit() -> None:
    quotas = (None, 1e-9, 0.5, 1.0, 1.01, 2.5, 1e19)
    for affinity, cpus, quota in itertools.product((1, 2, 64), (None, 1, 3, 128), quotas):
        answer = CpuLimits(affinity, 64, cpus, quota).cpus

        assert 1 <= answer <= min(affinity, cpus or affinity)
        assert quota is None or answer < quota + 1
    assert CpuLimits(affinity=0, cores=1).cpus == 1


def test_no_text_makes_it_fail(make_root: MakeRoot) -> None:
    texts = ("", "\n", "-1", "0", "0 0", "max", "max 1", "1 1", "0-", "-", "\0", "\udcff", "9" * 99)
    cgroups = ("0::/app", "1:cpu,cpuset,memory:/app", "0::", "0::/..", "0::x", "0::/\0", "::::", "")
    mounts = (
        V2,
        V1_CPU + V1_CPUSET + V1_MEMORY,
        "1 2 0:3 x x x - cgroup2 x x",
        "- - - - - - -",
        "",
    )
    names = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus", "memory.max")
    folders = (f"{FS}/app", f"{FS}/cpu/app", f"{FS}/cpuset/app", f"{FS}/memory/app", FS)
    for text in texts:
        limits = {f"{folder}/{name}": text for folder in folders for name in names}
        make_root({ONLINE: text, **limits})
        for cgroup, mount in itertools.product(cgroups, mounts):
            root = make_root({CGROUP: cgroup, MOUNTS: mount})

            assert 1 <= available_cpus(root, affinity=4) <= 4
            assert memory_limit(root) is None
