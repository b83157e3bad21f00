"""What is shown of threads: how many there are, run, stream and may be, and what waits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from launcher.cli.asking.facts import CLUSTER, WORKER, Facts
from launcher.cli.commands.describe import _lines
from launcher.cli.threads import busy, waits
from launcher.config.settings import Settings
from tests.cli.test_usage import Shell, status_of
from tests.cli.tools import Console

NEW = ("waiting", "active", "streaming", "p50", "p99", "last_exits")
NEW_OF_WORKERS = ("streaming", "threads", "threads_max")


def worker(active: int, threads: int, streaming: int = 0, **changes: Any) -> dict[str, Any]:
    figures = {"active": active, "streaming": streaming, "threads": threads, "threads_max": 64}
    return {**status_of("web")["workers"][0], **figures, **changes}


def of_an_earlier_version() -> dict[str, Any]:
    """What a primary answers that knows of fixed threads only."""
    status = {key: value for key, value in status_of("web").items() if key not in NEW}
    workers = [
        {key: value for key, value in worker.items() if key not in NEW_OF_WORKERS}
        for worker in status["workers"]
    ]
    return {**status, "workers": workers}


@pytest.mark.parametrize(
    ("workers", "shown"),
    [
        ([], "0"),
        ([worker(3, 6)], "3/64"),
        ([worker(3, 6), worker(64, 64), worker(0, 0, status="launching")], "67/128"),
        ([worker(3, 0, threads_max=0)], "3"),
    ],
)
def test_busy_is_of_how_many_there_may_be(workers: list[dict[str, Any]], shown: str) -> None:
    assert busy(workers) == shown


@pytest.mark.parametrize(
    ("waiting", "workers", "told"),
    [
        (0, [worker(64, 64)], ""),
        (1, [worker(64, 64)], "1 request waits for a thread: 64 of 64 are busy"),
        (
            12,
            [worker(64, 64, 50), worker(64, 64, 12), worker(9, 9, status="retiring")],
            "12 requests wait for a thread: 128 of 128 are busy, 62 with streams",
        ),
        (2, [worker(5, 5)], "2 requests wait for a thread: 5 of 5 are busy; at most 64"),
        (
            2,
            [worker(0, 0, status="launching"), worker(0, 0, status="backoff")],
            "2 requests wait for a worker: none is online",
        ),
    ],
)
def test_what_waits_and_what_for(waiting: int, workers: list[dict[str, Any]], told: str) -> None:
    assert waits({"waiting": waiting, "workers": workers}) == told


def test_the_list_has_a_line_for_what_waits(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    workers = [worker(64, 64, 40), worker(64, 64, 41, slot=1)]
    status = status_of("web", waiting=1024, error="wrong", workers=workers)
    with shell.cluster("web", status):
        lines = shell("list").stdout.splitlines()
    assert lines[2:] == [
        "  error: wrong",
        "  1024 requests wait for a thread: 128 of 128 are busy, 81 with streams",
    ]
    assert max(map(len, lines)) <= 80


def test_describe_has_a_line_for_each_worker_and_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    workers = [worker(3, 6, 1), worker(0, 0, id=0, slot=1, pid=None, status="backoff")]
    workers.append(worker(0, 4, id=5, slot=2))
    changes = {"waiting": 7, "active": 3, "streaming": 1, "workers_wanted": 3}
    status = status_of("web", workers=workers, **changes)
    facts = Facts(status, Settings(name="web", threads="4:64").values(), answered=True)
    lines = click.unstyle("\n".join(_lines(facts, []))).split("\n")
    assert "  threads     4-64 each; plan for 192 database connections, 384 in a reload" in lines
    assert "  running     3, 1 of them streaming; 7 waiting" in lines
    place = lines.index("threads")
    assert lines[place + 1 :] == [
        "  slot id threads   of running streaming",
        "     0  4       6 4-64       3         1",
        "     2  5       4 4-64       0         0",
    ]
    assert max(map(len, lines)) <= 80


def test_what_an_older_primary_does_not_tell_takes_defaults(tmp_path: Path) -> None:
    shell, old = Shell(tmp_path), of_an_earlier_version()
    activity: dict[str, Any] = {"requests_per_second": 0.0, "p50": None, "p99": None}
    activity |= {"workers": [], "active": [], "status": old}
    with shell.cluster("web", old, stop=repr(activity)):
        (found,) = json.loads(shell("list", "--json").stdout)
        listing, description = shell("list").stdout, shell("describe", "web").stdout
        screen = shell("monit", "--once").stdout
    assert ([*found], [*found["workers"][0]]) == ([*CLUSTER], [*WORKER])
    assert [found[key] for key in NEW] == [0, 2, 0, None, None, []]
    assert [[each[key] for key in NEW_OF_WORKERS] for each in found["workers"]] == [[0, 0, 0]] * 2
    assert listing.splitlines()[1].split()[:3] == ["web", "online", "1/2"]
    lines = [line.split() for line in description.splitlines()]
    assert ["0", "4", "-", "-", "1", "-"] in lines
    assert ["running", "2;", "0", "waiting"] in lines
    assert " ▸ web    online 1/2" in screen
    (row,) = [line.split() for line in screen.splitlines() if "0 #4" in line]
    assert row[-4:-2] == ["1", "2"], "busy, of an unknown number; connections"


def test_what_is_no_status_is_told_so(tmp_path: Path) -> None:
    shell, status = Shell(tmp_path), status_of("web")
    for wrong in (
        status | {"workers": None},
        status | {"workers": [3]},
        status | {"waiting": "many"},
        status | {"workers": [worker(3, 6) | {"threads": "6"}]},
    ):
        with shell.cluster("web", wrong):
            (found,) = json.loads(shell("list", "--json").stdout)
        assert found["error"] == "its primary is of another version of the launcher"


def test_a_real_cluster_of_fixed_threads(console: Console) -> None:
    console.ok("start", "web:app", "-w", "2", "-p", "0", "--threads", "3")
    text = console.ok("describe", "web")
    assert "  threads     3 each; plan for 6 database connections, 12 in a reload\n" in text
    assert "     0  1       3  3       0         0\n" in text
    console.ok("stop", "web")
    assert "plan for 6 database connections" in console.ok("describe", "web")
