"""bjoern with several processes: ``python -m benchmarks.servers.bjoern_server APP PORT WORKERS``.

bjoern itself has one process and one thread; its documentation says to listen, then fork.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any


def main(app: str, port: str, workers: str) -> None:
    bjoern: Any = importlib.import_module("bjoern")  # only in the peers' environment

    bjoern.listen(load(app), "127.0.0.1", int(port))
    children = []
    for _ in range(int(workers)):
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            bjoern.run()
            os._exit(0)
        children.append(pid)
    signal.signal(signal.SIGTERM, lambda *_: end(children))
    for pid in children:
        os.waitpid(pid, 0)


def load(app: str) -> Any:
    """``module:attribute`` or ``module:factory()``."""
    module, _, name = app.partition(":")
    found = getattr(importlib.import_module(module), name.removesuffix("()"))
    return found() if name.endswith("()") else found


def end(children: list[int]) -> None:
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
