"""``logs`` with options that say which lines: stored ones, and those that come."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from launcher.logs.reading import LogReader
from launcher.logs.times import ERR, MARK_SIZE, OUT, UNKNOWN
from launcher.logs.wanted import Wanted, read_since
from tests.logs.conftest import Folder
from tests.logs.console import Console
from tests.support import StartCluster

NOW = datetime(2026, 11, 22, 10, 0).astimezone()

SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Lines that are written from then on are of that time."""
    return lambda now: monkeypatch.setattr("launcher.logs.files.time.time", lambda: now)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("09:59", timedelta(minutes=1)),
        ("10:01:30", timedelta(hours=23, minutes=58, seconds=30)),  # yesterday's
        ("2026-11-22", timedelta(hours=10)),
        ("2026-11-22 09:00", timedelta(hours=1)),
        (f"{NOW:%Y-%m-%dT%H:%M:%S%z}", timedelta()),
    ],
)
def test_since(text: str, ago: timedelta) -> None:
    assert read_since(text, NOW) == (NOW - ago).timestamp()


@pytest.mark.parametrize("text", ["", "10", "10 m", "-1m", "m", "25:00", "soon", "9" * 7 + "d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write 10m, 2h, 14:30 or "):
        read_since(text, NOW)


def test_a_stream_is_known_to_the_byte(folder: Folder, set_clock: SetClock) -> None:
    """Lines within a millisecond share a mark, if they are of one stream; nothing else does."""
    set_clock(1000.0)
    log = folder.log()
    for stream, text in ((OUT, b"a\n"), (OUT, b"b\n"), (ERR, b"c\n"), (OUT, b"d\n"), (OUT, b"e\n")):
        log.append(text, stream=stream)
    assert (folder.path / ".0.times").stat().st_size == 3 * MARK_SIZE
    with (folder.path / "0.log").open("ab") as raw:
        raw.write(b"past us\n")  # C code, or a child process: nobody knows on which
    log.append(b"f\n", stream=OUT)
    lines = LogReader().last(folder.fd, 15)
    streams = {line.text: line.stream for line in lines}
    known = {"a": OUT, "b": OUT, "c": ERR, "d": OUT, "e": OUT, "f": OUT}
    assert streams == {**known, "past us": UNKNOWN}
    assert [line.text for line in LogReader().last(folder.fd, 2, wanted=Wanted(ERR))] == [
        *("c", "past us")
    ]


def test_marks_that_another_process_has_moved_are_left_alone(folder: Folder) -> None:
    log, other = folder.log(), folder.log()
    log.append(b"a\n", stream=OUT)
    times = folder.path / ".0.times"
    times.write_bytes(b"\1" * MARK_SIZE)  # as when those before it were forgotten
    log.append(b"b\n", stream=OUT)
    assert times.read_bytes()[:MARK_SIZE] == b"\1" * MARK_SIZE
    assert times.stat().st_size == 2 * MARK_SIZE
    other.append(b"c\n", stream=ERR)
    assert [line.stream for line in LogReader().last(folder.fd, 2)] == [OUT, ERR]


def fill(console: Console, set_clock: SetClock) -> float:
    """Lines of two workers over rotated files, one each minute up to now, and what the time is."""
    now = time.time()
    logs = [console.log("web", str(slot), size=400, keep=20) for slot in (0, 1)]
    for number in range(40):
        set_clock(now - 60 * (39 - number))
        text = f"{'error' if number % 8 == 1 else 'fine'} {number}\n".encode()
        logs[number % 2].append(text, stream=ERR if number % 4 == 1 else OUT)
    return now


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[-1]) for line in lines]


def test_stored_lines(console: Console, set_clock: SetClock) -> None:
    now = fill(console, set_clock)
    assert numbers(console.lines("--slot", "1", "-n", "3")) == [35, 37, 39]
    assert numbers(console.lines("--only", "err", "-n", "3")) == [29, 33, 37]
    assert numbers(console.lines("--only", "out", "-n", "3")) == [36, 38, 39]
    assert numbers(console.lines("--grep", "^err.r [0-9]")) == [1, 9, 17, 25, 33]
    assert numbers(console.lines("--since", "20m")) == [*range(20, 40)]  # more than 15
    assert numbers(console.lines("--since", "20m", "-n", "2")) == [38, 39]
    since = datetime.fromtimestamp(now - 601).isoformat(" ", "seconds")
    options = ("--only", "err", "--slot", "1", "--since", since, "--grep", "error|fine 37")
    assert numbers(console.lines("web", *options)) == [33, 37]
    # Nothing of that kind is no error.
    assert console.lines("--grep", "never") == console.lines("--slot", "7") == []
    stamp = datetime.fromtimestamp(now).isoformat(" ", "milliseconds")
    assert console.lines("-t", "-n", "1") == [f"1|web | {stamp} fine 39"]
    objects = [json.loads(line) for line in console.lines("--json", "-n", "3")]
    assert [each["stream"] for each in objects] == ["err", "out", "out"]


def test_lines_that_come(console: Console, follow: Any) -> None:
    logs = [console.log("web", str(slot)) for slot in (0, 1)]
    logs[1].append(b"error 0\n", stream=ERR)
    following = follow("--only", "err", "--slot", "1", "--grep", "error", "-t", "--since", "1m")
    following.wait_for("error 0")
    for number in range(1, 20):
        logs[number % 2].append(b"error %d\n" % number, stream=ERR if number % 3 else OUT)
        logs[1].append(b"fine\n", stream=ERR)
    logs[1].append(b"error 99\n", stream=ERR)
    following.wait_for("error 99")
    assert following.stop() == (0, "")
    assert numbers(following.lines) == [0, *(n for n in range(1, 20) if n % 2 and n % 3), 99]
    stamped = re.compile(r"1\|web \| \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} error \d+")
    assert all(stamped.fullmatch(line) for line in following.lines)


def test_what_is_no_such_option(console: Console) -> None:
    console.log("web")
    told = "--since: 'soon' is no time: write 10m, 2h, 14:30 or 2026-11-22 14:30"
    assert console.refuses("logs", "--since", "soon", status=2) == told
    told = "--grep: '(' is no regular expression: missing ), unterminated subpattern at position 0"
    assert console.refuses("logs", "--grep", "(", status=2) == told
    assert "'both' is not one of 'out', 'err'" in console.refuses(
        "logs", "--only", "both", status=2
    )
    console.refuses("logs", "--slot", "-1", status=2)


def test_what_an_app_prints_and_what_the_primary_says_in_json(
    start_background: StartCluster, console: Console
) -> None:
    cluster = start_background("-w", "1", "--log-format", "json")
    assert requests.get(f"{cluster.url}/ways", timeout=30).ok
    out = "\n".join(console.lines("--slot", "0", "--only", "out", "--grep", "way: "))
    err = "\n".join(console.lines("--slot", "0", "--only", "err", "--grep", "way: "))
    for text in ("in two parts", "write again", "bytes"):
        assert f"way: {text}\n" in out
        assert f"way: {text}\n" not in err
    for text in ("print to stderr", "logging", "the app's logger", "wsgi.errors"):
        assert f"way: {text}\n" in err
        assert f"way: {text}\n" not in out
    assert "way: child, stderr" in out  # past Python, so of both
    assert "way: child, stderr" in err
    said = console.lines("--only", "err", "--grep", "is ready at")[0].partition("| ")[2]
    line = json.loads(said)
    assert datetime.fromisoformat(line["time"]).tzinfo
    assert (line["source"], line["message"].partition(" at ")[0]) == (
        *("primary", "'chatty' is ready"),
    )


def test_in_the_foreground_each_line_of_the_primary_is_json(start_cluster: StartCluster) -> None:
    cluster = start_cluster("plain:application", "-w", "1", "--log-format", "json").ready()
    cluster.command("reload", "plain")
    assert cluster.stop() == 0
    lines = cluster.log.splitlines()
    said = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert not any("[primary]" in line for line in lines)
    assert any("is ready at" in line for line in said)
    assert any("reload done" in line for line in said)
