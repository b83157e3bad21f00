"""``list``: a table that fits, in colours where there are any, and quick."""

from __future__ import annotations

import os
import pty
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from launcher.config.settings import Settings
from launcher.control.protocol import encode, ok, parse_request
from launcher.state.home import Home
from tests.cli.test_usage import status_of
from tests.cli.tools import Console


@contextmanager
def stand_ins(home: Path, names: list[str]) -> Iterator[None]:
    """Clusters of these names, all in this process, which tell what healthy ones would."""
    with ExitStack() as stack:
        opened = stack.enter_context(Home.open({"LAUNCHER_HOME": str(home)}))
        selector = stack.enter_context(selectors.DefaultSelector())
        for name in names:
            folder = stack.enter_context(opened.claim(name))
            folder.write_app_json(Settings(name=name).to_json())
            listener = stack.enter_context(folder.bind_control_socket())
            selector.register(listener, selectors.EVENT_READ, name)
        reading, writing = os.pipe()
        selector.register(reading, selectors.EVENT_READ, "")
        thread = Thread(target=_answer, args=(selector,))
        thread.start()
        yield
        os.close(writing)
        thread.join()
        os.close(reading)


def _answer(selector: selectors.BaseSelector) -> None:
    while True:
        for key, _ in selector.select():
            if not key.data:
                return
            connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
            with connection:
                verb = parse_request(connection.recv(65536)).verb
                status = status_of(key.data)
                connection.sendall(encode(ok(status if verb == "status" else described(status))))


def described(status: dict[str, Any]) -> dict[str, Any]:
    """What a primary answers to ``describe``."""
    return {
        "status": status,
        "settings": Settings(name=status["name"]).to_json(),
        "mark": "",
        "requests_per_second": 12.3,
        "worker_rates": {},
        "last_exits": [],
    }


def on_a_terminal(console: Console, *arguments: str, **environ: str) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = console.environ | {"TERM": "xterm", "COLUMNS": "80"} | environ
    command = [sys.executable, "-m", "launcher", *arguments]
    with subprocess.Popen(command, env=environment, cwd=console.folder, stdout=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while data := os.read(ours, 65536):
                text += data
        except OSError:  # EIO: the other side is closed
            pass
        assert process.wait(30) == 0
    os.close(ours)
    return text.decode()


def test_colours_on_a_terminal_only(console: Console) -> None:
    with stand_ins(console.home, ["web"]):
        coloured = on_a_terminal(console, "list")
        plain = console.ok("list")
        assert on_a_terminal(console, "list", NO_COLOR="1") == plain.replace("\n", "\r\n")
        assert on_a_terminal(console, "list", TERM="dumb") == plain.replace("\n", "\r\n")
        described = on_a_terminal(console, "describe", "web")
    assert "\x1b[32monline" in coloured
    assert "\x1b" not in plain
    assert "\x1b[32monline" in described
    without = coloured.replace("\r\n", "\n")
    for code in ("\x1b[32m", "\x1b[1m", "\x1b[0m"):
        without = without.replace(code, "")
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()


def test_it_fits_80_columns(console: Console) -> None:
    names = ["a", "a-name-that-is-very-long-as-names-go-but-not-quite-the-longest", "shop"]
    with stand_ins(console.home, names):
        lines = console.ok("list").splitlines()
        wide = console.ok("list", COLUMNS="160").splitlines()
    assert len(lines) == 5, "a line of its own for the long name"
    assert max(map(len, lines)) <= 80
    assert len(wide) == 4
    assert lines[0].split() == [
        *("name", "status", "workers", "pid", "uptime", "crash/reload", "cpu", "memory", "req/s"),
    ]


def test_in_a_narrow_terminal_the_columns_that_matter_least_go(console: Console) -> None:
    with stand_ins(console.home, ["web"]):
        shown = {columns: console.ok("list", COLUMNS=str(columns)) for columns in (80, 40, 24)}
    headings = {columns: text.splitlines()[0].split() for columns, text in shown.items()}
    assert headings[40] == ["name", "status", "workers", "pid", "uptime"]
    assert headings[24] == ["name", "status", "workers"]
    assert len(headings[80]) == 9
    assert max(map(len, shown[40].splitlines())) <= 40


def test_twenty_clusters_are_listed_quickly(console: Console) -> None:
    with stand_ins(console.home, [f"web{i:02}" for i in range(20)]):
        assert len(console.ok("list").splitlines()) == 21
        version, listing = [], []
        for _ in range(7):  # alternately, so that a busy machine slows both
            version.append(_seconds(console, "--version"))
            listing.append(_seconds(console, "list"))
    # The quickest of each: what comes on top is other processes' work.
    assert min(listing) < 1.5 * min(version) + 0.3


def _seconds(console: Console, *arguments: str) -> float:
    begun = time.monotonic()
    console.ok(*arguments)
    return time.monotonic() - begun
