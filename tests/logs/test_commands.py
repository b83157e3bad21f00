"""``logs`` and ``flush`` as they are typed."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.logs.console import Console
from tests.support import Cluster, StartCluster, eventually

# logs


def test_the_last_lines_of_all_clusters(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    web, pool, api = console.log("web"), console.log("web", "pool"), console.log("api", "12")
    pool.append(b"loading\n")
    for number in range(20):
        now = time.time() + number
        monkeypatch.setattr("launcher.logs.files.time.time", lambda now=now: now)
        (web, api)[number % 2].append(b"line %d\n" % number)
    expected = [f"{('0|web ', '12|api')[n % 2]} | line {n}" for n in range(5, 20)]
    assert console.lines() == console.lines("all") == expected
    assert console.lines("web", "-n", "2") == ["0|web | line 16", "0|web | line 18"]
    assert console.lines("web", "-n", "100")[0] == "pool|web | loading"
    assert console.lines("web", "api", "-n", "1") == ["12|api | line 19"]
    assert console.lines("-n", "0") == []


def test_as_json(console: Console) -> None:
    console.log("web", "3").append('say "hi" \x1b[31m \x7f \x9b \u202e grün\n'.encode())
    console.log("web", "primary").append(b"ready\n")
    lines = console.lines("--json")
    assert all(line.isascii() and line.isprintable() for line in lines)
    values = [json.loads(line) for line in lines]
    stamps = [value.pop("ts") for value in values]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp) for stamp in stamps)
    assert values == [
        {
            "name": "web",
            "slot": 3,
            "source": "worker",
            "stream": None,
            "line": 'say "hi" \x1b[31m \x7f \x9b \u202e grün',
        },
        {"name": "web", "slot": None, "source": "primary", "stream": None, "line": "ready"},
    ]


def test_nothing_reaches_the_terminal_raw(console: Console) -> None:
    text = "a\x1b[2Jb\x07c\x08d\x7fe\x9bf\u202eg\u2066h\u200fi\u061cj\rkl\x00m"
    console.log("web").append(f"{text}\n".encode() + b"\xff\x9b\na\tb\n")
    output = console.run("logs").stdout
    assert output.splitlines() == [
        r"0|web | a\x1b[2Jb\x07c\x08d\x7fe\x9bf\u202eg\u2066h\u200fi\u061cj\rkl\x00m",
        r"0|web | \xff\x9b",
        "0|web | a       b",
    ]


def test_colours_are_for_terminals(console: Console) -> None:
    console.log("web").append(b"one\n")
    for environment, expected in (
        ({}, "\x1b[36m0|web |\x1b[0m one\r\n"),
        ({"NO_COLOR": "1"}, "0|web | one\r\n"),
    ):
        leader, follower = pty.openpty()
        subprocess.run(
            console.command("logs"),
            env=console.environment | environment,
            stdout=follower,
            timeout=30,
            check=True,
        )
        os.close(follower)
        assert os.read(leader, 1000).decode() == expected
        os.close(leader)


def test_what_cannot_be_shown(console: Console) -> None:
    assert console.lines() == ["nothing to do: there is no cluster"]
    assert console.refuses("logs", "web") == "no cluster named 'web'"
    console.log("web")
    assert console.refuses("logs", "wbe") == "no cluster named 'wbe': did you mean 'web'?"
    assert "is not a name" in console.refuses("logs", "../x", status=2)
    console.refuses("logs", "-n", "-1", status=2)
    (console.home / "web" / "logs" / "0.log").unlink()
    assert console.lines("web") == []


def test_a_cluster_in_the_foreground_has_none(
    start_cluster: StartCluster, console: Console
) -> None:
    cluster = start_cluster("plain:application", "-w", "1").ready()
    told = "cluster 'plain' runs in the foreground: what it logs is shown there"
    assert console.refuses("logs") == told
    assert console.refuses("flush") == told
    assert cluster.stop() == 0


def test_a_planted_link_is_refused(console: Console, tmp_path: Path) -> None:
    console.log("web").append(b"one\n")
    target = tmp_path / "target"
    target.write_text("secret\n")
    logs = console.home / "web" / "logs"
    (logs / "1.log").symlink_to(target)
    assert console.lines() == ["0|web | one"]
    told = f"{logs / '1.log'}: is a symlink, or no file: remove it"
    assert console.refuses("flush") == told
    assert target.read_text() == "secret\n"
    logs.rename(tmp_path / "elsewhere")
    logs.symlink_to(tmp_path / "elsewhere")
    told = f"{logs}: is a symlink, or no folder: remove it"
    assert console.refuses("logs", "web") == told
    console.log("api").append(b"two\n")
    done = console.run("logs")
    assert (done.stdout, done.stderr) == ("0|api | two\n", f"launcher: {told}\n")


def test_a_reader_that_leaves_early(console: Console) -> None:
    log = console.log("web", size=0)
    log.append(b"x" * 99 + b"\n" * 5000)
    command = subprocess.Popen(
        console.command("logs", "-n", "5000"), env=console.environment, stdout=subprocess.PIPE
    )
    assert command.stdout
    command.stdout.close()
    assert command.wait(30) == 1


# logs -f


def test_following_across_rotations_restarts_and_flushes(console: Console, follow: Any) -> None:
    log = console.log("web", size=1000)
    log.append(b"old\n")
    following = follow("web")
    following.wait_for("old")
    for number in range(30):
        log.append(b"%02d" % number + b"x" * 97 + b"\n")
        if number == 15:
            following.wait_for("15xx")
    following.wait_for("29xx")
    console.log("web", size=1000).append(b"another process\n")
    following.wait_for("another process")
    assert console.run("flush", "web").stdout == "flushed web\n"
    log.append(b"after it\n")
    following.wait_for("after it")
    console.log("web", "1").append(b"another slot\n")
    following.wait_for("1|web | another slot")
    assert following.stop() == (0, "")
    assert following.lines == [
        "0|web | old",
        *(f"0|web | {number:02}{'x' * 97}" for number in range(30)),
        "0|web | another process",
        "0|web | after it",
        "1|web | another slot",
    ]


def test_following_misses_nothing_after_a_flush(console: Console, follow: Any) -> None:
    log = console.log("web", size=0)
    log.append(b"old\n")
    following = follow("web")
    following.wait_for("old")
    expected = ["old"]
    for round_ in range(3):
        few, many = ([f"{round_} {n} of {most}" for n in range(most)] for most in (5, 400))
        log.append("".join(f"{line}\n" for line in few).encode())
        following.wait_for(few[-1])
        assert console.run("flush", "web").returncode == 0
        log.append("".join(f"{line}\n" for line in many).encode())
        following.wait_for(many[-1])
        expected += few + many
    assert following.stop() == (0, "")
    assert following.lines == [f"0|web | {line}" for line in expected]


def test_following_all_shows_new_clusters_too(console: Console, follow: Any) -> None:
    console.log("web").append(b"old\n")
    following = follow("--json", "-n", "1")
    following.wait_for("old")
    console.log("api").append(b"new\n")
    following.wait_for('"api"')
    assert following.stop() == (0, "")


def test_following_merges_by_time(
    console: Console, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [console.log("web", str(slot), size=0) for slot in range(3)]
    logs[0].append(b"begin\n")
    following = follow("-n", "1")
    following.wait_for("begin")
    for number in range(301):
        now = time.time() + 1  # a second further each time
        monkeypatch.setattr("launcher.logs.files.time.time", lambda now=now: now)
        logs[number % 3].append(b"%d\n" % number if number < 300 else b"end\n")
    following.wait_for("end")
    assert [int(line.split()[-1]) for line in following.lines[1:-1]] == list(range(300))


# flush


def test_flush(console: Console) -> None:
    for name in ("web", "api"):
        log = console.log(name)
        for _ in range(30):
            log.append(b"x" * 99 + b"\n")
    done = console.run("flush", "web")
    assert (done.returncode, done.stdout) == (0, "flushed web\n")
    assert [path.name for path in (console.home / "web" / "logs").glob("[!.]*")] == ["0.log"]
    assert console.lines("web") == []
    assert len(console.lines("api")) == 15
    assert console.run("flush").stdout == "flushed api\nflushed web\n"
    assert console.lines() == []


def test_flush_of_what_is_not_there(console: Console) -> None:
    assert console.run("flush").stdout == "nothing to do: there is no cluster\n"
    console.log("web")
    assert console.refuses("flush", "wbe") == "no cluster named 'wbe': did you mean 'web'?"


# A cluster that runs


def test_a_log_folder_that_was_removed(start_background: StartCluster, console: Console) -> None:
    cluster = start_background("-w", "2")
    logs = cluster.home / "chatty" / "logs"
    os.kill(cluster.pid, signal.SIGSTOP)  # it looks every 2 s, and would make the folder anew
    shutil.rmtree(logs)
    told = "the log folder of 'chatty' was removed: python -m launcher reopen chatty"
    assert console.refuses("logs", "chatty") == console.refuses("flush", "chatty") == told
    os.kill(cluster.pid, signal.SIGCONT)
    assert console.run("reopen", "chatty").stdout == "reopened the logs of chatty\n"
    processes = [cluster.pid, *(worker["pid"] for worker in cluster.workers())]
    outputs = {os.readlink(f"/proc/{pid}/fd/1") for pid in processes}
    assert outputs == {str(logs / name) for name in ("0.log", "1.log", "primary.log")}
    _say(cluster, "after it")
    assert "after it" in console.lines("chatty")[-1]


@pytest.mark.parametrize("command", ["flush", "reopen"])
def test_a_link_that_is_planted_later(
    start_background: StartCluster, console: Console, tmp_path: Path, command: str
) -> None:
    cluster = start_background("-w", "1")
    planted = cluster.home / "chatty" / "logs" / "0.log"
    planted.unlink()
    planted.symlink_to(tmp_path / "target")
    told = f"{planted}: is a symlink, or no file: remove it"
    assert console.refuses(command, "chatty") == told
    assert not (tmp_path / "target").exists()
    planted.unlink()
    assert console.run(command, "chatty").returncode == 0


def test_a_running_cluster_is_followed_over_reloads_and_crashes(
    start_background: StartCluster, follow: Any
) -> None:
    cluster = start_background("-w", "1")
    following = follow("-n", "100")
    _say(cluster, "before")
    following.wait_for("| before")
    assert cluster.command("reload", "chatty").returncode == 0
    following.wait_for("reload done")
    following.wait_for("pool|chatty")
    _say(cluster, "after the reload")
    following.wait_for("after the reload")
    requests.get(f"{cluster.url}/segfault", timeout=30)
    following.wait_for("Segmentation fault")
    following.wait_for("was killed by SIGSEGV")
    eventually(lambda: _say(cluster, "after the crash"))
    following.wait_for("after the crash")
    assert following.stop() == (0, "")


def _say(cluster: Cluster, text: str) -> bool:
    return requests.get(f"{cluster.url}/say/{text}", timeout=30).ok
