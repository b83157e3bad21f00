"""Whatever goes wrong in the middle of something else, the cluster comes back and takes orders."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from launcher.config.settings import Settings
from launcher.descriptors import raise_limit
from launcher.state.home import Home
from tests.cluster.tools import Request, get
from tests.faults.tools import control, pids
from tests.support import APPS, Cluster, StartCluster, alive, children, eventually, pool_of

StartMoody = Callable[..., Cluster]


@pytest.fixture
def mood(tmp_path: Path) -> Path:
    """What becomes of new workers: write ``die``, ``hang`` or ``stuck`` into it, or nothing."""
    path = tmp_path / "mood"
    path.touch()
    return path


@pytest.fixture
def start_moody(start_cluster: StartCluster, mood: Path) -> StartMoody:
    """A cluster of the echo app whose new workers do as the mood is."""

    def start(*options: str) -> Cluster:
        config = ("--gunicorn-config", str(APPS / "moody.conf.py"))
        return start_cluster("echo:app", *config, *options, MOOD=str(mood)).ready()

    return start


def kill_workers(cluster: Cluster) -> None:
    for worker in cluster.workers():
        os.kill(worker["pid"], signal.SIGKILL)


def errored(start_moody: StartMoody, mood: Path) -> Cluster:
    """A cluster that has given up, though its app would do again."""
    cluster = start_moody("-w", "2", "--max-restarts", "3")
    mood.write_text("die")
    kill_workers(cluster)
    eventually(lambda: cluster.status()["status"] == "errored")
    return cluster


def test_a_reload_ends_an_error_when_the_app_is_well_again(
    start_moody: StartMoody, mood: Path
) -> None:
    cluster = errored(start_moody, mood)
    failed = cluster.command("reload", "echo")
    assert failed.returncode == 1
    assert "exited with status 7" in failed.stderr
    assert cluster.status()["status"] == "errored"
    mood.write_text("")
    assert cluster.command("reload", "echo").returncode == 0
    status = cluster.status()
    assert (status["status"], status["error"]) == ("online", None)
    assert get(cluster.address).status == 200


def test_a_cluster_that_has_given_up_is_not_scaled(start_moody: StartMoody, mood: Path) -> None:
    cluster = errored(start_moody, mood)
    refused = cluster.command("scale", "echo", "3")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "exited with status 7: reload or restart it first" in refused.stderr
    mood.write_text("")
    assert cluster.command("restart", "echo").returncode == 0
    assert len(cluster.workers()) == 2


@pytest.mark.parametrize(("verb", "args"), [("scale", {"to": "2"}), ("restart", {})])
def test_a_change_goes_on_when_its_pool_is_killed(
    start_moody: StartMoody, mood: Path, verb: str, args: Any
) -> None:
    cluster = start_moody("-w", "1")
    reloads = cluster.status()["restarts"]["reload"]
    mood.write_text("hang")
    with ThreadPoolExecutor() as pool:
        change = pool.submit(lambda: control(cluster, verb, **args))
        launching = eventually(lambda: hanging(cluster))
        mood.write_text("")
        os.kill(pool_of(cluster), signal.SIGKILL)
        os.kill(launching["pid"], signal.SIGKILL)
        result = change.result(30)
    assert result["workers"] == cluster.status()["workers_wanted"]
    cluster.ready()
    assert cluster.status()["restarts"]["reload"] - reloads == (verb == "restart")
    control(cluster, "reload")


def hanging(cluster: Cluster) -> dict[str, Any] | None:
    """A worker that is launching, once its process is known."""
    workers = cluster.status()["workers"]
    return next((w for w in workers if w["status"] == "launching" and w["pid"]), None)


def test_a_restart_with_broken_code_is_slowed_down_and_given_up(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    source = tmp_path / "fragile.py"
    source.write_text("def app(environ, start_response): ...\n")
    options = ("-w", "1", "--max-restarts", "4", "--chdir", str(tmp_path))
    cluster = start_cluster("fragile:app", *options).ready()
    source.write_text("def app(\n")
    assert cluster.command("restart", "fragile").returncode == 1
    eventually(lambda: cluster.status()["status"] == "errored")
    status = cluster.status()
    assert "SyntaxError" in status["error"]
    assert status["restarts"]["crash"] <= 5


def test_a_worker_that_hangs_before_it_can_say_hello_is_ended(
    start_moody: StartMoody, mood: Path
) -> None:
    cluster = start_moody("-w", "2", "--boot-timeout", "3")
    before = pids(cluster)
    mood.write_text("hang")
    failed = cluster.command("reload", "echo")
    assert failed.returncode == 1
    assert "was not ready within 3 s" in failed.stderr
    assert pids(cluster) == before
    eventually(lambda: children(cluster.pid) == [pool_of(cluster)])
    kill_workers(cluster)
    eventually(lambda: "gone" if len(cluster.status()["workers"]) == 2 else "")
    mood.write_text("")
    cluster.ready()
    eventually(lambda: len(children(pool_of(cluster))) == 2)


def test_a_pool_that_hangs_is_replaced(start_moody: StartMoody, mood: Path) -> None:
    cluster = start_moody("-w", "2", "--boot-timeout", "3")
    before, pool = pids(cluster), pool_of(cluster)
    mood.write_text("stuck")
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: not alive(pool))
    mood.write_text("")
    eventually(lambda: not {*before.values()} & {*pids(cluster).values()})
    eventually(lambda: children(cluster.pid) == [pool_of(cluster)])
    assert get(cluster.ready().address).status == 200


def test_threads_of_the_app_do_not_outlive_their_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("faulty:app", "-w", "1", "--graceful-timeout", "1").ready()
    address, old = cluster.address, pids(cluster)[0]
    assert get(address, "/thread").status == 200
    os.kill(old, signal.SIGTERM)
    eventually(lambda: pids(cluster).get(0, old) != old)
    eventually(lambda: not alive(old))
    assert get(address, "/thread").status == 200
    every = cluster.pids()
    assert cluster.stop() == 0
    assert not any(map(alive, every))


def test_it_accepts_again_when_all_that_could_wait_was_refused(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    raise_limit()
    gate = tmp_path / "gate"
    gate.touch()
    options = ("-w", "1", "--no-preload", "--queue-timeout", "0.5")
    cluster = start_cluster("gate:app", *options, GATE=str(gate)).ready()
    address = cluster.address
    gate.unlink()
    kill_workers(cluster)
    with ExitStack() as stack:
        waiting = [stack.enter_context(Request(address)) for _ in range(Settings().queue_size + 50)]
        assert {request.reply().status for request in waiting} == {503}
        gate.touch()
        cluster.ready()
        assert get(address).status == 200


LINES: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("reload", {"environment": {"A": "\ud800"}}),
    ("restart", {"environment": {"A\ud800": "b"}}),
    ("reload", {"settings": {"health_path": "/\ud800"}}),
    ("reload", {"settings": {"max_requests": 10**400}}),
    ("reload", {"settings": {"timeout": -1e300}}),
    ("reload", {"settings": {"wanted": 0}}),
]


def test_no_line_that_somebody_sends_ends_the_cluster(
    start_cluster: StartCluster, subtests: pytest.Subtests
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    settings = control(cluster, "describe")["settings"]
    for verb, args in LINES:
        with subtests.test(f"{verb} {args}"):
            if "settings" in args:
                args = {"settings": settings | args["settings"]}
            reply = reply_to(cluster, json.dumps({"verb": verb, "args": args}).encode() + b"\n")
            assert not reply["ok"]
            assert reply["error"].count("\n") == 0
            assert cluster.ready().status()["generation"] == 1


def reply_to(cluster: Cluster, line: bytes) -> dict[str, Any]:
    with Home.open(cluster.environment) as home, socket.socket(socket.AF_UNIX) as client:
        client.connect(os.path.join(home.path, "echo", "control.sock"))
        client.sendall(line)
        reply: dict[str, Any] = json.loads(client.makefile("rb").readline())
    return reply


def test_a_run_leaves_the_entry_of_a_stopped_cluster_as_it_was(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--name", "other").ready()
    kept = ("--name", "kept", "--port", "0", "--workers", "1")
    assert cluster.command("start", "echo:app", *kept).returncode == 0
    assert cluster.command("stop", "kept").returncode == 0
    logs = sorted(path.name for path in (cluster.home / "kept" / "logs").iterdir())
    entry = (cluster.home / "kept" / "app.json").read_text()
    assert cluster.command("run", "nomodule:app", *kept).returncode == 1
    second = start_cluster("loader:app", *kept[:2], "-w", "1").ready()
    assert second.stop() == 0
    assert (cluster.home / "kept" / "app.json").read_text() == entry
    assert sorted(path.name for path in (cluster.home / "kept" / "logs").iterdir()) == logs
    assert cluster.command("start", "kept").returncode == 0
    assert cluster.command("delete", "kept").returncode == 0


def test_what_was_scaled_is_described_as_it_is(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    assert cluster.command("scale", "echo", "+1").returncode == 0
    settings = control(cluster, "describe")["settings"]
    assert (settings["workers"], settings["sources"]["workers"]) == (2, "scale +1")
    control(cluster, "reload")
    assert control(cluster, "describe")["settings"]["workers"] == 2
