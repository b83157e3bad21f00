"""The live screen on a real terminal: keys, sizes, signals, and how it leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.cli.monit.tools import Screen
from tests.cli.tools import Console
from tests.support import alive, eventually

START = ("start", "web:app", "-p", "0", "-w", "1", "-n")

OpenScreen = Callable[..., Screen]


def state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_keys_reload_scale_and_quit(console: Console, open_screen: OpenScreen) -> None:
    console.ok(*START, "web")
    screen = open_screen("web")
    lines = screen.shows("▸ web    online 1/1", "is ready at")
    assert len(lines) == 24
    screen.press("+")
    screen.shows("scaled web: generation 1, 2 workers", "▸ web    online 2/2", "1 #2")
    assert console.list()["web"]["workers_wanted"] == 2
    screen.press("r")
    screen.shows("reloaded web: generation 2, 2 workers", "0 #3")
    assert console.list()["web"]["generation"] == 2
    screen.press("-")
    screen.shows("scaled web: generation 2, 1 worker", "▸ web    online 1/1")
    screen.press("-")
    screen.shows("web: ", "0 workers")
    screen.press("q")
    assert screen.ended() == 0


def test_another_cluster_is_chosen(console: Console, open_screen: OpenScreen) -> None:
    console.ok(*START, "api")
    console.ok(*START, "web")
    screen = open_screen()
    screen.shows("▸ api", "log of api", "'api' is ready")
    screen.press("\x1b[B")
    screen.shows("▸ web", "log of web", "'web' is ready")
    screen.press("\t")
    screen.shows("▸ api")
    console.ok("delete", "api")
    screen.shows("▸ web")
    assert not [line for line in screen.lines if "api" in line]


def test_clusters_come_and_go(console: Console, open_screen: OpenScreen) -> None:
    screen = open_screen()
    screen.shows("no clusters; start one")
    console.ok(*START, "web")
    screen.shows("▸ web    online 1/1")
    console.ok("stop", "web")
    screen.shows("▸ web    stopped")
    console.ok("delete", "web")
    screen.shows("no clusters; start one")
    screen.press("r+-q")
    assert screen.ended() == 0


def test_the_window_changes_its_size(console: Console, open_screen: OpenScreen) -> None:
    console.ok(*START, "web")
    screen = open_screen()
    screen.shows("▸ web    online 1/1")
    for columns, rows in [(160, 50), (40, 9), (10, 2), (1, 1), (80, 24)]:
        screen.resize(columns, rows)
        screen.has_rows(rows)
        assert max(map(len, screen.lines)) <= columns
    screen.shows("▸ web    online 1/1")


def test_a_hung_primary_does_not_hang_the_screen(console: Console, open_screen: OpenScreen) -> None:
    console.ok(*START, "web")
    screen = open_screen()
    screen.shows("▸ web    online 1/1")
    pid = console.primary("web")
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        screen.shows("▸ web    errored", "does not answer", "kill -CONT")
        screen.press("r")
        screen.shows("reloading web")
        screen.resize(100, 30)
        screen.has_rows(30)
        screen.press("q")
        assert screen.ended(within=3) == 0
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("how", "status"),
    [("\x03", 0), ("\x04", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_the_terminal_is_restored(
    open_screen: OpenScreen, how: str | signal.Signals, status: int
) -> None:
    screen = open_screen()
    screen.shows("no clusters")
    assert not screen.restored()
    if isinstance(how, str):
        screen.press(how)
    else:
        screen.process.send_signal(how)
    assert screen.ended() == status


def test_it_can_be_put_aside(open_screen: OpenScreen) -> None:
    screen = open_screen()
    screen.shows("no clusters")
    screen.press("\x1a")
    eventually(lambda: state(screen.process.pid) == "T" and screen.restored())
    screen.process.send_signal(signal.SIGCONT)
    eventually(lambda: not screen.restored() and screen.lines)
    screen.press("q")
    assert screen.ended() == 0
    assert not alive(screen.process.pid)


def test_an_unsafe_home_ends_it_with_a_line(console: Console, open_screen: OpenScreen) -> None:
    screen = open_screen()
    screen.shows("no clusters")
    console.home.mkdir()
    console.home.chmod(0o777)
    assert screen.ended() == 1
    assert "can be written by others" in screen.output
