"""Becomes a service as systemd would have it by the exported unit, as far as root can do it alone.

In mount and process namespaces of its own (unshare(1)): nothing can be written but what the unit
says, and homes and /tmp are others. The command then takes away the user, the capabilities and the
system calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

OWN = ("/root", "/home", "/srv", "/tmp", "/run")
"""What the service sees nothing of, but for the places that it is given."""

FREE = ("/proc", "/sys", "/dev")


def main(plan: str) -> None:
    """``plan``: places (from, to), writable folders, uid, variables, and the command, as JSON."""
    wanted = json.loads(plan)
    keep = Path("/mnt")
    _mount("-t", "tmpfs", "keep", str(keep))
    for number, (place, _) in enumerate(wanted["places"]):
        (keep / str(number)).mkdir()
        _mount("--bind", place, str(keep / str(number)))
    for folder in filter(os.path.isdir, OWN):
        mode = "1777" if folder == "/tmp" else "0755"
        _mount("-t", "tmpfs", "-o", f"mode={mode}", "own", folder)
    for number, (_, place) in enumerate(wanted["places"]):
        os.makedirs(place, exist_ok=True)
        _mount("--bind", str(keep / str(number)), place)
    _mount("-l", str(keep), command="umount")
    for folder in wanted["writable"]:
        os.makedirs(folder)
        _mount("-t", "tmpfs", "-o", f"mode=0700,uid={wanted['uid']}", "state", folder)
    _freeze({"/tmp", *wanted["writable"]})
    os.chdir(wanted["folder"])
    os.execvpe(wanted["command"][0], wanted["command"], wanted["environ"])


def _freeze(writable: set[str]) -> None:
    """Every file system but these and the kernel's own can only be read."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = line.split()[1].encode().decode("unicode_escape")
        if target not in writable and not target.startswith(FREE):
            _mount("-o", "remount,bind,ro", target)


def _mount(*arguments: str, command: str = "mount") -> None:
    subprocess.run([command, *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
