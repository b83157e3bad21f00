"""``ping``, ``list -v``, ``list --json`` and ``describe`` as an operator types them."""

from __future__ import annotations

import datetime
import json
import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.ipc.notes import BUCKETS
from launcher.primary.insight.minute import Minute
from tests.cli.tools import Console
from tests.support import eventually


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A cluster ``web`` of 2 workers."""
    place = tmp_path_factory.mktemp("looking")
    (place / "project").mkdir()
    console = Console(place / "project", place / "home")
    console.ok("start", "web:app", "-w", "2", "-p", "0")
    yield console
    console.close()


@pytest.mark.slow
def test_ping(shared: Console) -> None:
    assert shared.ok("ping", "web") == "web is online\n"
    assert shared.refused("ping", "wbe") == "no cluster named 'wbe': did you mean 'web'?"
    shared.ok("start", "web:app", "-n", "other", "-w", "1", "-p", "0")
    shared.ok("stop", "other")
    assert shared.refused("ping", "other") == "other is stopped"
    shared.ok("delete", "other")


@pytest.mark.slow
def test_a_row_for_each_worker(shared: Console) -> None:
    heading, cluster, *workers = (line.split() for line in shared.ok("list", "-v").splitlines())
    assert heading[5] == "crash/reload"
    assert cluster[:3] == ["web", "online", "2/2"]
    rows = shared.list()["web"]["workers"]
    assert [line[:4] for line in workers] == [
        [str(each["slot"]), f"#{each['id']}", "online", str(each["pid"])] for each in rows
    ]
    assert len(shared.ok("list").splitlines()) == 2


@pytest.mark.slow
def test_describe_fits_the_first_screen(shared: Console) -> None:
    lines = shared.ok("describe", "web").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("settings "))
    assert [line.split()[0] for line in lines[place + 1 :]] == ["app", "bind", "workers"]
    assert len(lines) < 24, "beside the line where the next command is typed"
    everything = shared.ok("describe", "web", "--all").splitlines()
    assert any(line.split()[:2] == ["backlog", "2048"] for line in everything)


@pytest.mark.slow
def test_the_json_of_the_list_has_what_monit_knows(shared: Console) -> None:
    for _ in range(20):
        shared.ask("web")
    os.kill(shared.online("web")[1]["pid"], signal.SIGKILL)
    found = eventually(lambda: _with_an_exit(shared))
    assert 0 < found["p50"] <= found["p99"] < 60
    assert {"active", "waiting", "streaming"} <= found.keys()
    (ended,) = found["last_exits"]
    assert (ended["slot"], ended["signal"], ended["reason"]) == (1, "SIGKILL", "crash")
    assert datetime.datetime.fromisoformat(ended["when"]).tzinfo
    assert ended == shared.describe("web")["last_exits"][0]


def _with_an_exit(console: Console) -> dict[str, Any] | None:
    """The cluster's object once it is known how a worker has ended."""
    (found,) = json.loads(console.ok("list", "--json"))
    return found if any(each["signal"] for each in found["last_exits"]) else None


def test_the_last_minute_forgets_what_is_older() -> None:
    calls: list[Callable[[], None]] = []
    counts = [0] * BUCKETS
    row = SimpleNamespace(times=lambda: list(counts))
    workers = [SimpleNamespace(id=1, row=row)]
    reactor = SimpleNamespace(call_later=lambda _, call: calls.append(call))
    primary = SimpleNamespace(reactor=reactor, roster=SimpleNamespace(workers=lambda: workers))
    minute = Minute(primary)  # type: ignore[arg-type]
    minute.start()
    assert minute.percentiles() == {"p50": None, "p99": None}
    counts[5] += 100
    fast = minute.percentiles()["p50"]
    assert fast is not None
    for _ in range(12):
        calls.pop()()
    assert minute.percentiles()["p50"] == fast
    counts[9] += 1
    assert (minute.percentiles()["p99"] or 0) >= fast
    calls.pop()()
    slow = minute.percentiles()["p50"]
    assert slow is not None
    assert slow > fast, "the others are more than a minute old"
    minute.clear()
    assert minute.percentiles() == {"p50": None, "p99": None}
