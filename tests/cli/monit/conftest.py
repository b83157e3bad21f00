"""Fixtures of the tests of ``monit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.monit.tools import Screen
from tests.cli.tools import Console

APP = """
import os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/print":
        print("printed \\x1b[2J\\x07 \\x9b31m end", flush=True)
    while path == "/wait" and not os.path.exists("go"):
        time.sleep(0.005)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """A shell in a folder with an app that can wait; all that it starts is ended afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    console = Console(folder, tmp_path / "home")
    console.write("web.py", APP)
    yield console
    (folder / "go").touch()
    console.close()


@pytest.fixture
def open_screen(console: Console) -> Iterator[Callable[..., Screen]]:
    """``open_screen("web", rows=24)``: ``monit`` on a terminal of its own."""
    screens: list[Screen] = []

    def start(*arguments: str, columns: int = 80, rows: int = 24) -> Screen:
        screens.append(Screen(console, arguments, columns, rows))
        return screens[-1]

    yield start
    for screen in screens:
        screen.close()
