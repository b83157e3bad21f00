"""The app of echo.py with views that hang, stop half-way or kill their worker."""

from __future__ import annotations

import importlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from launcher import current_worker

echo = importlib.import_module("echo")
app: Flask = echo.app

_FOR_EVER = 3600.0
_kept: list[bytes] = []


@app.route("/hang/sleep", methods=["GET", "POST"])
def hang_sleep() -> str:
    time.sleep(_FOR_EVER)
    return "slept"


@app.get("/hang/lock")
def hang_lock() -> str:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
    return "taken twice"


@app.get("/hang/loop")
def hang_loop() -> str:
    while True:
        pass


@app.get("/hang/regex")
def hang_regex() -> str:
    """A C call that never gives the interpreter back."""
    return str(re.match(r"(a+)+$", "a" * 64 + "b"))


@app.get("/hang/sum")
def hang_sum() -> str:
    """Another one, which does not even look for signals."""
    return str(sum(range(10**13)))


@app.get("/wait/<name>")
def wait(name: str) -> str:
    """Says in COUNT_FILE that it runs, then waits until the file $GATE exists."""
    echo.count(f"running {name}")
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.005)
    return f"waited {name}"


@app.get("/print")
def print_a_line() -> str:
    print("a line", flush=True)
    return "printed"


@app.get("/grow/<int:megabytes>")
def grow(megabytes: int) -> str:
    """Take memory and keep it."""
    _kept.append(b"x" * (megabytes << 20))
    return f"grown GET {current_worker.id}"


@app.get("/partial/<int:size>")
def partial(size: int) -> Response:
    """A part of a response, and then nothing for ever."""

    def body() -> Iterator[bytes]:
        yield b"x" * size
        echo.count("partial")
        time.sleep(_FOR_EVER)

    return Response(body(), mimetype="application/octet-stream")


@app.get("/drip/<int:pieces>/<float:pause>")
def drip(pieces: int, pause: float) -> Response:
    """A response that comes slowly but steadily."""

    def body() -> Iterator[bytes]:
        for _ in range(pieces):
            yield b"drop"
            time.sleep(pause)

    return Response(body(), mimetype="application/octet-stream")


@app.get("/die/<int:number>")
def die_by_signal(number: int) -> str:
    """At once, or ``after`` so many seconds."""
    echo.count("die")
    time.sleep(float(request.args.get("after", 0)))
    os.kill(os.getpid(), number)
    signal.pause()
    return "survived"


@app.get("/thread")
def thread() -> str:
    """Leave a thread behind that the interpreter waits for."""
    threading.Thread(target=time.sleep, args=(_FOR_EVER,)).start()
    return "started"
