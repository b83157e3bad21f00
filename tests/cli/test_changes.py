"""``reload``, ``restart``, ``scale``, ``reset``, ``signal``: done when they return, or refused."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.tools import Console, settled, told
from tests.support import alive, eventually

PORT = ("-p", "0")


def slots(console: Console, name: str = "web") -> dict[int, int]:
    """The ids of the online workers, by slot."""
    return {worker["slot"]: worker["id"] for worker in console.online(name)}


def test_slots_stay_and_ids_are_always_new(console: Console) -> None:
    console.ok("start", "web:app", "-w", "2", *PORT)
    assert slots(console) == {0: 1, 1: 2}
    assert console.ok("scale", "web", "4") == "scaled web: generation 1, 4 workers\n"
    assert slots(console) == {0: 1, 1: 2, 2: 3, 3: 4}
    console.ok("scale", "web", "-2")
    assert slots(console) == {0: 1, 1: 2}
    console.ok("scale", "web", "+2")
    assert slots(console) == {0: 1, 1: 2, 2: 5, 3: 6}
    line = console.ok("scale", "web", "4")
    assert line == "nothing to do: 'web' has 4 workers already\n"
    console.ok("reload", "web")
    assert slots(console) == {0: 7, 1: 8, 2: 9, 3: 10}


def test_what_is_no_number_of_workers(console: Console, subtests: pytest.Subtests) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    for to in ["0", "-9", "abc", "513", "--4", "1.5", ""]:
        with subtests.test(repr(to)):
            console.refused("scale", "web", to, status=2)
    assert slots(console) == {0: 1}


def test_reload_tells_what_is_wrong_with_the_new_code_and_keeps_the_old(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    before = console.online("web")[0]["pid"]
    console.write("web.py", "def f():\n    raise ValueError('on purpose')\nf()\n")
    done = console("reload", "web")
    assert (done.returncode, done.stdout) == (1, "")
    *detail, line = done.stderr.splitlines()
    assert line.startswith("launcher: reload failed: cannot load 'web:app': ValueError: on purpose")
    assert "    raise ValueError('on purpose')" in detail
    status = console.list()["web"]
    assert [worker["pid"] for worker in status["workers"]] == [before]
    assert (status["generation"], status["restarts"]["reload"]) == (1, 0)


def test_restart_carries_on_whatever_comes_of_it(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    line = console.ok("restart", "web")
    assert line == "restarted web: generation 2, 1 worker\n"
    console.write("web.py", "raise ValueError('on purpose')\n")
    done = console("restart", "web")
    assert done.returncode == 1
    assert "launcher: restart failed: cannot load 'web:app'" in done.stderr
    assert console.list()["web"]["status"] in ("errored", "online", "launching", "backoff")


def test_all_and_several_names(console: Console) -> None:
    for name in ("blog", "shop"):
        console.ok("start", "web:app", "-w", "1", "-n", name, *PORT)
    assert console.ok("reload", "all").splitlines() == [
        "reloaded blog: generation 2, 1 worker",
        "reloaded shop: generation 2, 1 worker",
    ]
    line = console.refused("reload", "shop", "shpo", "shop")
    assert line == "no cluster named 'shpo': did you mean 'shop'?: nothing was done"
    assert console.list()["shop"]["generation"] == 2
    assert console.ok("scale", "all", "1").splitlines() == [
        "nothing to do: 'blog' has 1 workers already",
        "nothing to do: 'shop' has 1 workers already",
    ]
    console.ok("stop", "all")
    for command in ("reload", "restart", "reset", "stop"):
        assert console.ok(command, "all") == "nothing to do: no cluster is running\n"
    line = console.refused("reload", "shop")
    assert line == "cluster 'shop' is not running: start it: python -m launcher start shop"


def test_reset_zeroes_the_counters(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("reload", "web")
    for _ in range(3):
        console.ask("web")
    settled(console, "web", requests=3)
    os.kill(console.online("web")[0]["pid"], signal.SIGKILL)
    eventually(lambda: console.list()["web"]["restarts"]["crash"] == 1)
    assert console.list()["web"]["requests"] == 3
    assert console.ok("reset", "web") == "reset the counters of web\n"
    status = console.list()["web"]
    assert (status["requests"], {*status["restarts"].values()}) == (0, {0})
    settled(console, "web", error=None)
    console.ask("web")
    settled(console, "web", requests=1)
    console.ok("reset", "web")
    status = console.list()["web"]
    assert (status["requests"], status["workers"][0]["requests"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "preload"),
    [("USR2", "--preload"), ("sigusr2", "--no-preload"), (str(int(signal.SIGUSR2)), "--preload")],
)
def test_a_signal_reaches_each_worker_once(console: Console, name: str, preload: str) -> None:
    console.write("web.py", COUNTING)
    where = {"COUNT": str(console.folder / "count")}
    console.ok("start", "web:app", "-w", "3", preload, *PORT, **where)
    assert console.ok("signal", "web", name) == "sent SIGUSR2 to web: 3 workers\n"
    pids = {str(worker["pid"]) for worker in console.online("web")}
    got = eventually(lambda: _lines(console.folder / "count", 3))
    assert sorted(got) == sorted(pids)
    primary = console.primary("web")
    assert primary
    assert alive(primary)
    console.ok("signal", "web", "USR2")
    twice = eventually(lambda: _lines(console.folder / "count", 6))
    assert Counter(twice) == dict.fromkeys(pids, 2), "not once more for the first signal"


COUNTING = """
import os, signal

def note(*_):
    fd = os.open(os.environ["COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)

signal.signal(signal.SIGUSR2, note)

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def _lines(path: Path, at_least: int) -> list[str] | None:
    lines = path.read_text().splitlines()
    return lines if len(lines) >= at_least else None


def test_what_is_no_signal(console: Console) -> None:
    line = console.refused("signal", "web", "USR9", status=2)
    assert line == "'USR9' is no signal: write USR2, SIGUSR2 or 12"


def test_update_env_takes_this_shells_variables_and_keeps_them_in_memory(
    console: Console,
) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT, COLOUR="red", SIZE="s")
    assert console.ask("web", "COLOUR", "SIZE") | {"id": 0} == console.ask("web") | {
        "COLOUR": "red",
        "SIZE": "s",
        "id": 0,
    }
    console.ok("reload", "web", COLOUR="blue")
    assert console.ask("web", "COLOUR")["COLOUR"] == "red"
    console.ok("reload", "--update-env", "web", COLOUR="canary-blue")
    answer = console.ask("web", "COLOUR", "SIZE")
    assert (answer["COLOUR"], answer["SIZE"]) == ("canary-blue", None)
    console.ok("reload", "web", COLOUR="green")
    assert console.ask("web", "COLOUR")["COLOUR"] == "canary-blue"
    console.ok("restart", "--update-env", "web", COLOUR="yellow")
    assert console.ask("web", "COLOUR")["COLOUR"] == "yellow"


def test_a_failed_reload_keeps_the_old_variables_too(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT, COLOUR="red")
    good = (console.folder / "web.py").read_text()
    console.write("web.py", "syntax error(\n")
    assert console("reload", "--update-env", "web", COLOUR="blue").returncode == 1
    console.write("web.py", good)
    console.ok("reload", "web")
    assert console.ask("web", "COLOUR")["COLOUR"] == "red"


def test_an_environment_that_is_too_large_is_refused(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    large = {f"LARGE{i}": "x" * 120_000 for i in range(3)}
    line = told(console("reload", "--update-env", "web", **large))
    assert line.endswith(": what it is to be sent is over 256 KiB")
