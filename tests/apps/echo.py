"""An app that does what a test asks of it, and says who did it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from launcher import current_worker

app = Flask(__name__)

BOOT_TIME = time.time()


@app.get("/clustered")
def clustered() -> Response:
    return Response(f"Running on worker with id #{current_worker.id}", mimetype="text/plain")


@app.get("/who")
def who() -> dict[str, object]:
    return {
        "id": current_worker.id,
        "slot": current_worker.slot,
        "generation": current_worker.generation,
        "pid": os.getpid(),
        "environ_id": request.environ["launcher.worker_id"],
        "environ_slot": request.environ["launcher.worker_slot"],
        "WORKER_ID": os.environ["WORKER_ID"],
        "WORKER_SLOT": os.environ["WORKER_SLOT"],
        "remote": request.remote_addr,
        "server": request.host,
    }


@app.route("/echo/<token>", methods=["GET", "POST"])
def echo(token: str) -> Response:
    """The token back. A POST leaves it in the file COUNT_FILE, one atomic line each."""
    if request.method == "POST":
        body = request.get_data()
        count(f"{token} {len(body)}")
    pause = float(request.args.get("sleep", 0))
    if pause:
        time.sleep(pause)
    return Response(f"{token} {request.method} {current_worker.id}\n", mimetype="text/plain")


def count(line: str) -> None:
    """Append a line to COUNT_FILE; one write, so lines of several workers do not mix."""
    fd = os.open(os.environ["COUNT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@app.route("/die", methods=["GET", "POST"])
def die() -> str:
    if os.environ.get("COUNT_FILE"):
        count("die")
    os._exit(7)


@app.get("/raise")
def fail() -> str:
    raise RuntimeError("the view failed")


@app.get("/exit")
def exit_view() -> str:
    raise SystemExit(3)


@app.post("/length")
def length() -> str:
    return str(len(request.get_data()))


@app.get("/big/<int:size>")
def big(size: int) -> Response:
    return Response(b"x" * size, mimetype="application/octet-stream")


@app.get("/stream/<int:pieces>/<int:size>")
def stream(pieces: int, size: int) -> Response:
    def body() -> Iterator[bytes]:
        for index in range(pieces):
            yield bytes([97 + index % 26]) * size

    return Response(body(), mimetype="application/octet-stream")
