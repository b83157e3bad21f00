"""An app that writes to its log in every way there is."""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401 -- as another user, the worker may not be able to read it
import logging
import os
import resource
import subprocess
import sys
import threading
import time
import warnings

from flask import Flask, request

app = Flask(__name__)
logger = logging.getLogger("chatty")
logging.basicConfig(level="INFO", format="%(message)s")

print("loaded: print")
if os.environ.get("MOST_BYTES"):  # in a file: beyond, writing fails as on a full disk
    most = int(os.environ["MOST_BYTES"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@app.get("/")
def index() -> str:
    return "ok"


@app.get("/ways")
def ways() -> str:
    libc = ctypes.CDLL(None)
    print("way: print")
    print("way: print", "to stderr", sep=" ", file=sys.stderr)
    print("way: in ", end="")
    print("two parts")
    sys.stdout.write("way: write\nway: write again\n")
    sys.stdout.buffer.write(b"way: bytes\n")
    logger.info("way: logging")
    app.logger.error("way: the app's logger")
    warnings.warn("way: a warning", stacklevel=1)
    request.environ["wsgi.errors"].write("way: wsgi.errors\n")
    os.write(1, b"way: descriptor 1\n")
    os.write(2, b"way: descriptor 2\n")
    libc.puts(b"way: C")
    libc.fflush(None)
    subprocess.run(["sh", "-c", "echo way: child; echo way: child, stderr >&2"], check=True)
    print("way: without an end", end="")
    return "ok"


@app.get("/say/<text>")
def say(text: str) -> str:
    print(text)
    return "ok"


@app.get("/raw")
def raw() -> str:
    print(request.args["text"])
    return "ok"


@app.get("/fail")
def fail() -> str:
    raise RuntimeError("this view fails")


@app.get("/sleep")
def sleep() -> str:
    time.sleep(3)
    return "slept"


@app.get("/segfault")
def segfault() -> str:
    print("the last line before")
    print("and a part", end=" ", flush=True)
    ctypes.string_at(0)
    return ""


@app.get("/storm/<writer>/<int:threads>/<int:lines>/<int:size>")
def storm(writer: str, threads: int, lines: int, size: int) -> str:
    """So many lines from so many threads, half through ``print`` and half through logging."""

    def write(thread: int) -> None:
        for number in range(lines):
            head = f"{writer}.{thread} {number} "
            line = head + "x" * (size - len(head) - 1)
            if number % 2:
                print(line)
            else:
                logger.info(line)

    started = [threading.Thread(target=write, args=(index,)) for index in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return "ok"


@app.get("/flood/<int:size>")
def flood(size: int) -> str:
    """So many bytes past Python, in lines."""
    line = b"c" * 99 + b"\n"
    for _ in range(size // len(line)):
        os.write(1, line)
    return "ok"


@app.get("/linger")
def linger() -> str:
    """A child process that outlives rotations, and writes a line for each one that it reads."""
    child = subprocess.Popen(["sh", "-c", "while read line; do echo child: $line; done"], stdin=-1)
    children.append(child)
    return "ok"


@app.get("/tell/<text>")
def tell(text: str) -> str:
    stdin = children[0].stdin
    assert stdin
    stdin.write(f"{text}\n".encode())
    stdin.flush()
    return "ok"


children: list[subprocess.Popen[bytes]] = []
