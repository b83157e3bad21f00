"""``monit --once``: one frame, in a pipe as well; never held up, never a control character."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from typing import Any

from launcher.state.home import Home
from tests.cli.tools import Console
from tests.support import ROOT, eventually

START = ("start", "web:app", "-n", "web", "-p", "0")
FORCED = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLORTERM": "yes"}


def get(console: Console, path: str) -> threading.Thread:
    """Ask for something in the background."""
    address = console.list()["web"]["bind"][0]

    def ask() -> None:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as reply:
            assert reply.read() == b"ok"

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_without_any_cluster(console: Console) -> None:
    assert "no clusters; start one: python -m launcher start" in console.ok("monit", "--once")
    assert not console.home.exists()
    assert console.refused("monit", "web", "--once") == "no cluster named 'web'"


def test_without_a_terminal(console: Console) -> None:
    assert console.refused("monit") == "monit needs a terminal; for one frame: monit --once"


def test_one_frame_in_a_pipe(console: Console) -> None:
    console.ok(*START, "-w", "2")
    console.ok("start", "web:app", "-n", "dead", "-w", "1", "-p", "0")
    console.ok("stop", "dead")
    get(console, "/print").join()
    waiting = get(console, "/wait?token=secret")
    text = eventually(lambda: _if_in("GET /wait?…", console.ok("monit", "--once", **FORCED)))
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= 80
    assert "secret" not in text
    assert "   dead   stopped" in text
    assert " ▸ web    online 2/2" in text
    assert "printed \\x1b[2J\\x07 \\x9b31m end" in text
    (console.folder / "go").touch()
    waiting.join()
    status = call(console)
    assert status["active"] == []
    assert status["p50"] <= status["p99"]
    assert status["p99"] > 0


def test_named_and_stopped(console: Console) -> None:
    console.ok(*START, "-w", "1")
    console.ok("stop", "web")
    assert " ▸ web    stopped" in console.ok("monit", "web", "--once")
    assert console.refused("monit", "wep", "--once").endswith("did you mean 'web'?")


def test_a_hung_primary_is_told_in_time(console: Console) -> None:
    console.ok(*START, "-w", "1")
    pid = console.primary("web")
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = console("monit", "web", "--once")
        assert done.returncode == 1
        assert "kill -CONT" in done.stderr
        assert " ▸ web    errored" in done.stdout
        assert "log of web" in done.stdout
        assert console("monit", "--once").returncode == 0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_terminal_that_knows_no_letters_but_ascii(console: Console) -> None:
    console.ok(*START, "-w", "1")
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    text = console.ok("monit", "--once", **plain)
    assert text.isascii()
    assert " > web" in text
    assert "- log of web ----" in text


def test_only_monit_loads_rich() -> None:
    code = """
import sys, json
from launcher.cli import main
assert main(["list"]) == 0 and main(["--help"]) == 0
print(json.dumps([name for name in sys.modules if name.startswith(("rich", "launcher.cli.monit"))]))
"""
    environ = {"PYTHONPATH": str(ROOT), "LAUNCHER_HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def call(console: Console) -> dict[str, Any]:
    """What the primary answers to ``activity``."""
    from launcher.control.client import call

    with Home.open({"LAUNCHER_HOME": str(console.home)}) as home:
        found: dict[str, Any] = call(home, "web", "activity", timeout=5)
    return found


def _if_in(text: str, output: str) -> str | None:
    return output if text in output else None
