"""``LAUNCHER_HOME``, or a part of it, is removed under a running cluster: it comes back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.tools import Console, ask
from tests.cluster.tools import free_port
from tests.faults.tools import frozen
from tests.support import eventually

PRINTS = """
def app(environ, start_response):
    print("printed", environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]
"""


def files(folder: Path) -> dict[str, int]:
    """What there is in the folder, the logs' folder too, by inode."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*")}


@pytest.mark.parametrize("parts", [(), ("lock", "app.json"), ("control.sock",)])
def test_what_is_removed_is_made_anew_and_commands_reach_the_cluster(
    console: Console, parts: tuple[str, ...]
) -> None:
    console.write("prints.py", PRINTS)
    console.ok("start", "prints:app", "--name", "web", "-w", "1", "--port", "0")
    primary = console.primary("web")
    address = console.list()["web"]["bind"][0]
    before = files(console.home / "web")
    for part in parts:
        (console.home / "web" / part).unlink()
    if not parts:
        shutil.rmtree(console.home)
    eventually(lambda: files(console.home / "web").keys() >= before.keys())
    assert console.home.stat().st_mode & 0o777 == 0o700
    status = eventually(lambda: console.list()["web"])
    assert (status["status"], status["pid"]) == ("online", primary)
    assert "is already running" in console.refused("start", "prints:app", "--name", "web")
    ask(address, "again")
    eventually(lambda: "printed again" in console.ok("logs", "web"))
    assert "its folder was removed" in console.ok("logs", "web")
    assert console.ok("stop", "web") == "stopped web\n"
    assert console.ok("start", "web").startswith("started web")
    console.ok("delete", "web")
    assert [*console.home.iterdir()] == []


def test_logs_that_are_removed_are_written_anew(console: Console) -> None:
    console.write("prints.py", PRINTS)
    console.ok("start", "prints:app", "--name", "web", "-w", "1", "--port", "0")
    address = console.list()["web"]["bind"][0]
    shutil.rmtree(console.home / "web" / "logs")
    eventually((console.home / "web" / "logs" / "0.log").exists)
    ask(address, "again")
    eventually(lambda: "printed again" in console.ok("logs", "web"))


def test_a_name_that_another_cluster_has_taken_meanwhile_stays_with_that(
    console: Console,
) -> None:
    console.ok("start", "web:app", "-w", "1", "--port", "0")
    first, address = console.primary("web"), console.list()["web"]["bind"][0]
    assert first
    with frozen(first):  # so that it does not come back in between
        shutil.rmtree(console.home)
        console.ok("start", "web:app", "-w", "1", "--port", str(free_port()))
    second = console.primary("web")
    assert second != first
    log = Path(f"/proc/{first}/fd/2")
    eventually(lambda: "cannot be made anew: cluster 'web' is already" in log.read_text())
    assert console.primary("web") == second
    assert ask(address)["id"] == 1, "it serves on"
    console.ok("delete", "web")
    eventually(lambda: console.primary("web") == first)
    console.ok("delete", "web")
    eventually(lambda: not os.path.exists(f"/proc/{first}"))
