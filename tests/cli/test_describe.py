"""``describe``: everything about one cluster, and why."""

from __future__ import annotations

import datetime
import json
import os
import signal
from typing import Any

from tests.cli.tools import Console, ask, settled
from tests.support import eventually

PORT = ("-p", "0")


def test_every_setting_and_where_it_comes_from(console: Console) -> None:
    console.ok("start", "web:app", "--workers", "1", *PORT, LAUNCHER_THREADS="3")
    found = console.describe("web")["configuration"]
    assert found["app"] == {"value": "web:app", "source": "APP"}
    assert found["bind"] == {"value": ["127.0.0.1:0"], "source": "--port"}
    assert found["workers"] == {"value": 1, "source": "--workers"}
    assert found["threads"] == {"value": 3, "source": "LAUNCHER_THREADS"}
    assert found["backlog"] == {"value": 2048, "source": "default"}
    text = console.ok("describe", "web")
    assert any(line.split() == ["threads", "3", "LAUNCHER_THREADS"] for line in text.splitlines())
    assert "1 of 1 ready (1: --workers)" in text
    assert not [line for line in text.splitlines() if len(line) > 80 and "/" not in line]


def test_the_last_exit_of_each_slot(console: Console) -> None:
    console.ok("start", "web:app", "-w", "3", *PORT)
    before = {worker["slot"]: worker for worker in console.list()["web"]["workers"]}
    os.kill(before[0]["pid"], signal.SIGKILL)
    eventually(lambda: console.list()["web"]["restarts"]["crash"] == 1)
    settled(console, "web", error=None)
    console.ok("scale", "web", "2")
    crash, scaled = eventually(lambda: _exits(console, 2))
    when = datetime.datetime.fromisoformat(crash.pop("when"))
    assert abs(when - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=2)
    assert crash == {
        "slot": 0,
        "id": 1,
        "pid": before[0]["pid"],
        "generation": 1,
        "code": None,
        "signal": "SIGKILL",
        "reason": "crash",
    }
    assert (scaled["slot"], scaled["code"], scaled["reason"]) == (2, 0, "scale")
    console.ok("reload", "web")
    exits = eventually(lambda: _if_all(_exits(console, 3), "reload", 2))
    assert [each["reason"] for each in exits] == ["reload", "reload", "scale"]
    text = console.ok("describe", "web")
    assert any(line.split()[-2:] == ["0", "reload"] for line in text.splitlines())


def _exits(console: Console, count: int) -> list[dict[str, Any]] | None:
    """So many last exits, once it is known of each how it ended."""
    exits = console.describe("web")["last_exits"]
    known = [each for each in exits if (each["code"], each["signal"]) != (None, None)]
    return exits if len(known) >= count else None


def _if_all(
    exits: list[dict[str, Any]] | None, reason: str, count: int
) -> list[dict[str, Any]] | None:
    found = [each for each in exits or () if each["reason"] == reason]
    return exits if len(found) == count else None


def test_a_stopped_cluster(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    console.ok("stop", "web")
    found = console.describe("web")
    assert (found["status"], found["pid"], found["last_exits"]) == ("stopped", None, [])
    assert found["configuration"]["app"]["value"] == "web:app"
    assert console.ok("describe", "web").startswith("web: stopped\n")


def test_where_the_logs_are(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    logs = console.describe("web")["logs"]
    assert f"{console.home}/web/logs/primary.log" in logs
    assert all(os.path.isfile(path) for path in logs)


def test_several(console: Console) -> None:
    for name in ("blog", "shop"):
        console.ok("start", "web:app", "-w", "1", "-n", name, *PORT)
    console.ok("stop", "shop")
    found = json.loads(console.ok("describe", "all", "--json"))
    assert [each["name"] for each in found] == ["blog", "shop"]
    done = console("describe", "shop", "nosuch")
    assert done.returncode == 1
    assert done.stdout.startswith("shop: stopped\n")
    assert done.stderr == "launcher: no cluster named 'nosuch'\n"
    assert console.refused("describe", "bog") == "no cluster named 'bog': did you mean 'blog'?"


def test_requests_per_second(console: Console) -> None:
    console.ok("start", "web:app", "-w", "1", *PORT)
    address = console.list()["web"]["bind"][0]
    for _ in range(20):
        ask(address)
    found = eventually(lambda: _rate(console))
    assert 0 < found["requests_per_second"] <= 20
    (rate,) = [line.split()[-1] for line in console.ok("list").splitlines()[1:]]
    assert float(rate) >= 0


def _rate(console: Console) -> dict[str, Any] | None:
    found = console.describe("web")
    return found if found["requests_per_second"] > 0 else None
