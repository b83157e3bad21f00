"""An app that installs handlers while it is loaded, and that forks."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
from types import FrameType
from typing import Any

from flask import Flask

echo = importlib.import_module("echo")
app: Flask = echo.app


def note(number: int, _frame: FrameType | None) -> None:
    """Says in COUNT_FILE who got what; then what the launcher would have done is done too."""
    echo.count(f"{signal.Signals(number).name} {os.getpid()}")
    before[number](number, _frame)


before: dict[int, Any] = {
    number: signal.signal(number, note)
    for number in (signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
}

dumps = open(f"{os.environ['COUNT_FILE']}.stacks", "w")  # noqa: SIM115
faulthandler.register(signal.SIGHUP, dumps)


def end_a_child() -> int:
    """The signal that ends a forked child which is sent SIGTERM."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])
        os.write(tell, b"x")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    os.kill(pid, signal.SIGTERM)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


WHILE_LOADED = end_a_child()


@app.get("/children")
def children() -> list[int]:
    """How a child ended that was forked while the app was loaded, and one of now."""
    return [WHILE_LOADED, end_a_child()]
