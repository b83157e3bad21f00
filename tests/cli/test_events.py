"""``events``: what has happened to clusters, as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from tests.cli.tools import Console
from tests.support import eventually


def _events(console: Console, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in console.ok("events", "--json", *words).splitlines()]


def _read_up_to(command: subprocess.Popen[str], words: str) -> list[str]:
    """The lines up to the one that has these words."""
    assert command.stdout
    seen = [command.stdout.readline()]
    while words not in seen[-1]:
        assert seen[-1], "it has ended"
        seen.append(command.stdout.readline())
    return seen


def test_a_clusters_life(console: Console) -> None:
    """A crash, a reload and a stop, told in its folder, in the log, and to a reader that waits."""
    console.ok("start", "web:app", "-w", "1", "-p", "0")
    with console.popen("events", "web", "-f") as following:
        _read_up_to(following, "'web' is ready at")
        victim = console.list()["web"]["workers"][0]
        os.kill(victim["pid"], signal.SIGKILL)
        eventually(lambda: any(it["event"] == "worker_exited" for it in _events(console)))
        console.ok("reload", "web")
        seen = _read_up_to(following, "reload done: 1 workers of generation 2 are online")
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
    line = f"worker 1 (slot 0, pid {victim['pid']}) was killed by SIGKILL\n"
    assert any(each.endswith(f" web | {line}") for each in seen)
    exited = next(it for it in _events(console, "web") if it["event"] == "worker_exited")
    assert exited.pop("ts").endswith("Z")
    assert exited == {
        "name": "web",
        "event": "worker_exited",
        "text": line.strip(),
        "worker": 1,
        "slot": 0,
        "pid": victim["pid"],
        "generation": 1,
        "reason": "crash",
        "code": None,
        "signal": "SIGKILL",
        "asked": False,
        "error": "",
    }
    assert line in console.ok("logs", "web", "-n", "100")
    console.ok("stop", "web")
    kinds = [it["event"] for it in _events(console)]
    assert kinds[-1] == "cluster_stopped"
    assert {"cluster_ready", "reload_begun", "reload_done", "cluster_stopping"} <= {*kinds}
    assert [it["event"] for it in _events(console, "-n", "1")] == kinds[-1:]
    folder = console.home / "web"
    assert (folder / "events.jsonl").stat().st_mode & 0o777 == 0o600
    (folder / "events.jsonl.1").write_text(
        '{"ts": "\\u202e1", "name": "\\u001b[31mweb", "event": "x", "text": "a\\nb\\u202ec"}\n'
    )
    first = console.ok("events", "-n", "100").splitlines()[0]
    assert first == r"\u202e1 \x1b[31mweb | a\nb\u202ec"
    console.ok("delete", "web")
    assert not folder.exists()


def test_where_there_is_nothing_to_show(console: Console) -> None:
    assert console.ok("events") == "nothing to do: there is no cluster\n"
    assert "'wbe'" in console.refused("events", "wbe")


def test_where_events_cannot_be_kept_the_cluster_serves_and_says_so_once(console: Console) -> None:
    place = console.home / "web" / "events.jsonl"
    place.mkdir(parents=True, mode=0o700)
    for folder in (console.home, place.parent):
        folder.chmod(0o700)
    console.ok("start", "web:app", "-w", "1", "-p", "0")
    console.ok("reload", "web")
    said = [line for line in console.ok("logs", "web", "-n", "100").splitlines() if "lost" in line]
    (line,) = said
    assert line.endswith(f"{place}: Is a directory; events are lost until it can be written")
    assert console.ok("events", "web") == "nothing to do: nothing has happened yet\n"
