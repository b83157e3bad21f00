"""What is told while a cluster starts, waits and ends."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from launcher.cli.starting.progress import progress_line
from launcher.primary.processes.loading import next_word
from tests.cli.tools import PATIENCE, Console
from tests.support import eventually

FREE = ("-p", "0", "-w", "1")

SLOW = """
import os, time
while not os.path.exists("go"):
    time.sleep(0.02)
from web import app
"""
"""Is loaded once there is a file ``go``."""

DIES = """
import os
from web import app
if os.path.exists("die"):
    os.abort()
"""


def test_when_there_is_something_to_say() -> None:
    due, said = 0.0, []
    while due < 45:
        due = next_word(due)
        said.append(due)
    assert said == [1, 5, 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("apps", "line"),
    [
        (
            [("shop", "shop:app")],
            "starting shop: loading 'shop:app' …, for 3 s, at most 127 s more",
        ),
        ([("a", "a"), ("b", "b")], "starting a, b …, for 3 s, at most 127 s more"),
    ],
)
def test_the_live_line(apps: list[tuple[str, str]], line: str) -> None:
    assert progress_line(apps, 3.2, 126.7, 80) == line
    assert progress_line(apps, 3.2, 126.7, 20) == line[:19]


def test_a_slow_app_and_the_end_in_the_foreground(console: Console) -> None:
    console.write("shop.py", SLOW)
    log = console.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "run", "shop:app", *FREE],
            cwd=console.folder,
            env=console.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: "still loading" in log.read_text(), within=PATIENCE)
        (console.folder / "go").touch()
        eventually(lambda: "is ready at" in log.read_text(), within=PATIENCE)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    lines = [line.partition("[primary] ")[2] for line in log.read_text().splitlines()]
    assert lines[0] == "loading 'shop:app' …"
    assert re.fullmatch(
        r"still loading 'shop:app', for \d+ s; \d\d s more are left to it \(--boot-timeout\)",
        lines[1],
    )
    assert lines[-1] == "stopped"


def test_start_on_a_terminal_shows_it_live(console: Console) -> None:
    console.write("shop.py", SLOW)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "start", "shop:app", *FREE],
        cwd=console.folder,
        env=console.environ | {"TERM": "xterm", "COLUMNS": "80"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = ""
    deadline = time.monotonic() + PATIENCE
    while "started shop" not in shown and time.monotonic() < deadline:
        if select.select([leader], [], [], 0.1)[0]:
            shown += os.read(leader, 4096).decode()
        if shown.count("starting shop") > 1:
            (console.folder / "go").touch()
    assert process.wait(PATIENCE) == 0
    os.close(leader)
    console.list()
    live, _, end = shown.rpartition("\r\x1b[K")
    assert re.search(r"\r\x1b\[Kstarting shop: loading 'shop:app' …, for \d s, at most \d+ s", live)
    assert re.fullmatch(r"started shop \(pid \d+\): http://127\.0\.0\.1:\d+, 1 worker\r\n", end)


def test_a_port_that_one_of_ours_has(console: Console) -> None:
    console.ok("start", "web:app", *FREE)
    port = console.list()["web"]["bind"][0].rpartition(":")[2]
    console.ok("delete", "web")
    console.ok("start", "web:app", "-w", "1", "-p", port)
    for command in (("start",), ("run",)):
        line = console.refused(*command, "web:app", "-n", "other", "-b", f"127.0.0.1:{port}")
        assert line == (
            f"cannot listen on 127.0.0.1:{port}: cluster 'web' has it: python -m launcher stop"
            " web, or choose another with --port or --bind"
        )
    line = console.refused("start", "web:app", "-n", "other", "-b", f"0.0.0.0:{port}")
    assert "cluster 'web' has it" in line


def test_a_crash_loop_is_backoff_with_the_reason(console: Console) -> None:
    console.write("shop.py", DIES)
    console.ok("start", "shop:app", "--no-preload", *FREE)
    (console.folder / "die").touch()
    os.kill(console.online("shop")[0]["pid"], signal.SIGKILL)
    eventually(lambda: "SIGABRT" in _waiting_because_of(console), within=60)
    (console.folder / "die").unlink()
    eventually(lambda: console.list()["shop"]["status"] == "online", within=60)


def _waiting_because_of(console: Console) -> str:
    status = console.list()["shop"]
    return str(status["error"]) if status["status"] == "backoff" else ""
