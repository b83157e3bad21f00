"""A WSGI app that forks; the parent answers with how its child ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Start = Callable[..., Callable[[bytes], None]]


def exits() -> None:
    sys.exit(3)


def raises() -> None:
    raise RuntimeError("the child failed")


def ends() -> None:
    os._exit(7)


CHILDREN: dict[str, Callable[[], None]] = {"exits": exits, "raises": raises, "ends": ends}


def fork(path: str) -> int:
    """How a child ended that does what ``path`` says; ``returns`` goes on as its parent does."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # whatever becomes of it, it is not left behind
        CHILDREN.get(path, lambda: None)()
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_process(what: str) -> int:
    """The same with the standard library's own children."""
    if what == "subprocess":
        return subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=False).returncode
    child = multiprocessing.get_context("fork").Process(target=exits)
    child.start()
    child.join()
    return child.exitcode or 0


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    kind, _, what = environ["PATH_INFO"][1:].partition("/")
    if kind == "stream":
        start("200 OK", [])
        return stream(what)
    status = {"view": fork, "library": in_process}[kind](what)
    body = f"{status} {os.getpid()}".encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def stream(what: str) -> Iterator[bytes]:
    yield b"begun "
    yield f"{fork(what)} {os.getpid()}".encode()
