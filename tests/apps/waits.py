"""An app whose requests wait, compute, or stream for as long as a test asks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response

from launcher import current_worker

app = Flask(__name__)

enough = threading.Event()
"""Ends all that computes or streams in this worker."""


@app.get("/who")
def who() -> str:
    return f"worker #{current_worker.id}"


@app.get("/sleep/<float:seconds>")
@app.post("/sleep/<float:seconds>")
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return f"slept in worker #{current_worker.id}"


@app.get("/compute/<float:seconds>")
def compute(seconds: float) -> str:
    """So many seconds of CPU time of this thread, in pure Python."""
    end = time.thread_time() + seconds
    while time.thread_time() < end and not enough.is_set():
        sum(range(1000))
    return f"computed in worker #{current_worker.id}"


@app.get("/events")
def events() -> Response:
    """An event at once, then ten a second."""

    def body() -> Iterator[bytes]:
        while not enough.is_set():
            yield f"data: {current_worker.id}\n\n".encode()
            time.sleep(0.1)

    return Response(body(), mimetype="text/event-stream")


@app.get("/enough")
def end() -> str:
    enough.set()
    return f"{os.getpid()}"
