"""A network of a test's own: its ports are nobody else's."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

_BRING_LOOPBACK_UP = """
import fcntl, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # netdevice(7)
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
print("up", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def own_network(*ports: int) -> Iterator[list[str]]:
    """A command that runs others on a network of their own, as root or as a user who may have one.

    Where a user may not, it is empty, and the ports have to be free.
    """
    with contextlib.ExitStack() as stack:
        for own, enter in ([], []), (["-r"], ["-U", "--preserve-credentials"]):
            pid = stack.enter_context(_network(own))
            if pid:
                yield ["nsenter", "-t", str(pid), "-n", *enter]
                return
        if any(map(_in_use, ports)):
            pytest.skip("its ports are in use, and this user may not have a network of their own")
        yield []


@contextlib.contextmanager
def _network(own: Sequence[str]) -> Iterator[int | None]:
    """The pid of a process on a new network, which lasts as long as it; None if it may not be."""
    command = ["unshare", "-n", *own, sys.executable, "-c", _BRING_LOOPBACK_UP]
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        yield None
        return
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout
        yield holder.pid if holder.stdout.readline() == b"up\n" else None
        holder.kill()


def _in_use(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
