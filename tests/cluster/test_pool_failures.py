"""A pool that dies after it has loaded the app: told why, and not tried for ever."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from tests.cluster.test_bad_input import Failure
from tests.cluster.tools import ask, free_port
from tests.faults.tools import control
from tests.support import APPS, StartCluster, alive, children, eventually

FAILING = {
    "on_starting": "def on_starting(server):\n    raise ValueError('no licence')\n",
    "when_ready": "import socket\ndef when_ready(server):\n    socket.create_server(('', -1))\n",
    "pre_fork": "def pre_fork(server, worker):\n    import sys\n    sys.exit('no licence')\n",
}
TOLD = {
    "on_starting": "on_starting in {}, line 2: ValueError: no licence",
    "when_ready": "when_ready in {}, line 3: OverflowError: bind(): port must be 0-65535.",
    "pre_fork": "pre_fork in {}, line 3: SystemExit: no licence",
}


def failure(tmp_path: Path, command: str, config: str) -> tuple[Failure, Path]:
    file = tmp_path / "gunicorn.conf.py"
    file.write_text(config)
    options = ("--chdir", str(APPS), "--port", "0", "-w", "2", "--gunicorn-config", str(file))
    return Failure(tmp_path, command, "plain:application", *options), file


@pytest.mark.parametrize(
    ("hook", "command"),
    [("on_starting", "run"), ("when_ready", "run"), ("pre_fork", "run"), ("when_ready", "start")],
)
def test_a_hook_that_fails_before_the_first_readiness_is_the_end(
    tmp_path: Path, command: str, hook: str
) -> None:
    ended, file = failure(tmp_path, command, FAILING[hook])
    assert ended.status == 1
    last = ended.stderr.splitlines()[-1]
    assert last.removeprefix("launcher: ").removeprefix("plain: ") == TOLD[hook].format(file)
    assert ended.leaves_nothing()


def test_a_folder_for_gunicorn_that_is_missing_is_named(tmp_path: Path) -> None:
    ended, _ = failure(tmp_path, "run", "worker_tmp_dir = '/no/such'\n")
    assert ended.status == 1
    line = "worker_tmp_dir = '/no/such' in gunicorn's configuration: there is no such folder"
    assert ended.stderr.endswith(f"{line}\n")
    assert ended.leaves_nothing()


@pytest.mark.parametrize("port", ["", "none"])
def test_the_variable_port_is_not_looked_at_beside_bind(
    start_cluster: StartCluster, port: str
) -> None:
    where = ("--bind", f"127.0.0.1:{free_port()}")
    assert ask(start_cluster("echo:app", "-w", "1", *where, PORT=port).ready().address) == 1


LATER = """
import os

def pre_fork(server, worker):
    if os.path.exists(os.environ["BROKEN"]):
        raise RuntimeError("no database")
"""


def test_later_it_counts_as_a_crash_and_ends_in_errored(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    broken, config = tmp_path / "broken", tmp_path / "gunicorn.conf.py"
    config.write_text(LATER)
    options = ("-w", "1", "--max-restarts", "3", "--gunicorn-config", str(config))
    cluster = start_cluster("echo:app", *options, BROKEN=str(broken)).ready()
    broken.touch()
    with pytest.raises(LauncherError, match=r"reload failed: pre_fork in .*: no database"):
        control(cluster, "reload")
    assert [worker["id"] for worker in cluster.workers()] == [1]
    assert ask(cluster.address) == 1
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: cluster.status()["status"] == "errored")
    status = cluster.status()
    assert status["error"].endswith("line 6: RuntimeError: no database")
    assert status["restarts"]["crash"] == 5, "the worker, its pool, and three more pools"
    assert not any(map(alive, children(cluster.pid)))
    broken.unlink()
    control(cluster, "reload")
    assert cluster.status()["status"] == "online"
