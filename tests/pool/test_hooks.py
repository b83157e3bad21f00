"""gunicorn's server hooks: when they run here, what they are given, what becomes of one that fails.

``docs/gunicorn.md`` has the table.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from launcher.ipc.messages import Alone, Buried, Scaled
from launcher.pool.hooks import Hooks
from tests.cluster.tools import free_port, get
from tests.pool.tools import ended, last_line
from tests.support import APPS, Cluster, StartCluster, eventually, pool_of

CONFIG = """
import json
import os
import socket
from pathlib import Path

from launcher import current_worker

FOLDER = Path(os.environ["HOOKS"])
FAILS = os.environ.get("FAILS")


def note(hook, *facts):
    line = json.dumps([hook, os.getpid(), *facts]) + "\\n"
    fd = os.open(FOLDER / "hooks", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)
    if FAILS == hook:
        raise ValueError(f"{hook} is no good")


def on_starting(server):
    note("on_starting", server.address)


def on_reload(server):
    note("on_reload")


def when_ready(server):
    # Kept open, as that of an HTTP server for metrics is.
    server.port = socket.create_server(("127.0.0.1", int(os.environ["METRICS_PORT"])))
    note("when_ready")


def nworkers_changed(server, new, old):
    note("nworkers_changed", new, old)


def on_exit(server):
    note("on_exit")


def pre_fork(server, worker):
    note("pre_fork")


def post_fork(server, worker):
    worker.log.info("hello from post_fork")
    note("post_fork", worker.age, current_worker.id, current_worker.slot, os.environ["WORKER_ID"])


def post_worker_init(worker):
    note("post_worker_init")


def post_request(worker, request, environ, response):
    note("post_request", worker.nr)


def worker_exit(server, worker):
    note("worker_exit", worker.nr)


def worker_abort(worker):
    note("worker_abort")


def child_exit(server, worker):
    (FOLDER / f"gauge_livesum_{worker.pid}.db").unlink(missing_ok=True)
    worker.log.debug("%s had answered %s", worker, worker.nr)
    note("child_exit", worker.pid, worker.age)
"""

POST_FORK_NOTES = next(line for line in CONFIG.splitlines() if 'note("post_fork"' in line)

APP = """
import os
from pathlib import Path

from echo import app

# As prometheus_client does for every process that has a metric.
Path(os.environ["HOOKS"], f"gauge_livesum_{os.getpid()}.db").touch()
if Path(os.environ["HOOKS"], "broken").exists():
    raise RuntimeError("broken")
"""


class Hooked:
    """A folder with the app, its hooks, and what these have noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "gunicorn.conf.py").write_text(CONFIG)
        (folder / "measured.py").write_text(APP)
        self.variables = {
            "HOOKS": str(folder),
            "METRICS_PORT": str(self.port),
            "PYTHONPATH": os.pathsep.join((str(APPS.parent.parent), str(APPS))),
        }
        self.options = (
            *("measured:app", "--chdir", str(folder)),
            *("--gunicorn-config", str(folder / "gunicorn.conf.py")),
        )

    def noted(self, *hooks: str) -> list[tuple[Any, ...]]:
        """What these hooks have noted so far: hook, pid, facts."""
        try:
            lines = (self.folder / "hooks").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [entry for line in lines if (entry := tuple(json.loads(line)))[0] in hooks]

    def gauges(self) -> set[int]:
        """The processes that would be counted."""
        return {int(path.stem.rpartition("_")[2]) for path in self.folder.glob("gauge_*.db")}


@pytest.fixture
def hooked(tmp_path: Path) -> Hooked:
    return Hooked(tmp_path)


def start(start_cluster: StartCluster, hooked: Hooked, *options: str, **variables: str) -> Cluster:
    return start_cluster(*hooked.options, *options, **hooked.variables, **variables).ready()


def changed(cluster: Cluster, *command: str, status: int = 0) -> str:
    """What a command has said."""
    done = cluster.command(*command)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def is_served(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_reload_and_a_lost_pool(start_cluster: StartCluster, hooked: Hooked) -> None:
    """A port that ``when_ready`` opens is free each time, and no process is counted for ever."""
    cluster = start(start_cluster, hooked, "-w", "1")
    first = pool_of(cluster)
    host, port = cluster.address
    assert hooked.noted("on_starting", "when_ready") == [
        ("on_starting", first, [[host, port]]),
        ("when_ready", first),
    ]
    assert hooked.gauges() == {first}

    changed(cluster, "reload", "measured")
    eventually(lambda: len(hooked.noted("when_ready")) == 2)
    second = pool_of(cluster)
    ends = hooked.noted("on_starting", "on_reload", "when_ready", "on_exit")[2:]
    assert ends == [("on_reload", second), ("on_exit", first), ("when_ready", second)]
    assert ("child_exit", second, first, 0) in hooked.noted("child_exit")
    assert hooked.gauges() == {second}
    assert is_served(hooked.port)

    (worker,) = cluster.workers()
    os.kill(second, signal.SIGKILL)
    eventually(lambda: len(hooked.noted("when_ready")) == 3)
    third = pool_of(cluster)
    buried = {entry[2:] for entry in hooked.noted("child_exit") if entry[1] == third}
    assert buried == {(second, 0), (worker["pid"], worker["id"])}
    assert hooked.gauges() == {third}
    assert is_served(hooked.port)
    assert "Exception in" not in cluster.log


def test_a_reload_that_is_undone_leaves_nothing_counted(
    start_cluster: StartCluster, hooked: Hooked
) -> None:
    cluster = start(start_cluster, hooked, "-w", "1")
    first = pool_of(cluster)
    (hooked.folder / "broken").touch()
    assert "RuntimeError: broken" in changed(cluster, "reload", "measured", status=1)
    eventually(lambda: hooked.gauges() == {first})
    assert hooked.noted("on_exit", "on_reload") == []
    assert [pid for _, pid in hooked.noted("when_ready")] == [first]


def test_scaling_is_told(start_cluster: StartCluster, hooked: Hooked) -> None:
    cluster = start(start_cluster, hooked, "-w", "1")
    changed(cluster, "scale", "measured", "2")
    changed(cluster, "scale", "measured", "1")
    eventually(lambda: len(hooked.noted("nworkers_changed")) == 3)
    pool = pool_of(cluster)
    assert hooked.noted("nworkers_changed") == [
        ("nworkers_changed", pool, 1, None),
        ("nworkers_changed", pool, 2, 1),
        ("nworkers_changed", pool, 1, 2),
    ]


def test_what_hooks_are_given_and_what_they_log_is_the_workers(
    start_cluster: StartCluster, hooked: Hooked
) -> None:
    cluster = start(start_cluster, hooked, "-w", "1")
    (worker,) = cluster.workers()
    assert hooked.noted("post_fork") == [("post_fork", worker["pid"], 1, 1, 0, "1")]
    assert "[worker 1 slot 0] hello from post_fork\n" in cluster.log
    for _ in range(3):
        assert get(cluster.address).status == 200
    eventually(lambda: len(hooked.noted("post_request")) == 3)
    assert [count for _, _, count in hooked.noted("post_request")] == [1, 2, 3]
    assert cluster.stop() == 0
    assert hooked.noted("worker_exit") == [("worker_exit", worker["pid"], 3)]


def test_worker_abort_is_for_a_request_whose_time_is_up(
    start_cluster: StartCluster, hooked: Hooked
) -> None:
    cluster = start(start_cluster, hooked, "-w", "1", "--timeout", "0.3")
    (worker,) = cluster.workers()
    assert get(cluster.address, "/sleep/30.0").status == 504
    eventually(lambda: hooked.noted("worker_abort") == [("worker_abort", worker["pid"])])


# One that fails


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "hook"),
    [
        *(("run", hook) for hook in ("on_starting", "nworkers_changed", "when_ready", "pre_fork")),
        *(("run", hook) for hook in ("post_fork", "post_worker_init")),
        *(("start", hook) for hook in ("when_ready", "post_fork")),
    ],
)
def test_before_the_first_readiness_it_is_the_end(
    hooked: Hooked, tmp_path: Path, command: str, hook: str
) -> None:
    variables = {**hooked.variables, "FAILS": hook}
    options = (*hooked.options, "--port", "0", "-w", "1", "--max-restarts", "3")
    done = ended(tmp_path, command, *options, **variables)
    assert f"ValueError: {hook} is no good" in last_line(done)
    assert f", in {hook}\n" in done.stderr
    assert "launcher/" not in done.stderr


def test_in_a_reload_it_is_the_reason_why_that_is_undone(
    start_cluster: StartCluster, hooked: Hooked
) -> None:
    cluster = start(start_cluster, hooked, "-w", "1", FAILS="on_reload")
    said = changed(cluster, "reload", "measured", status=1)
    assert said.splitlines()[-1].endswith(": ValueError: on_reload is no good")
    assert "on_reload in " in said.splitlines()[-1]
    assert [worker["generation"] for worker in cluster.workers()] == [1]


def test_later_the_reason_is_more_than_a_status(
    start_cluster: StartCluster, hooked: Hooked
) -> None:
    conf = hooked.folder / "gunicorn.conf.py"
    conf.write_text(CONFIG.replace("if FAILS == hook:", "if (FOLDER / hook).exists():"))
    cluster = start(start_cluster, hooked, "-w", "1")
    (hooked.folder / "post_fork").touch()
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    place = f"post_fork in {conf}, line {CONFIG.splitlines().index(POST_FORK_NOTES) + 1}"
    reason = f"exited with status 3: {place}: ValueError: post_fork is no good\n"
    eventually(lambda: reason in cluster.log)
    (hooked.folder / "post_fork").unlink()
    cluster.ready()
    os.kill(pool_of(cluster), signal.SIGKILL)  # for another reason
    eventually(lambda: "generation 1: the pool was killed by SIGKILL\n" in cluster.log)


class FakeArbiter:
    """Its hooks raise, but for those that are told not to."""

    def __init__(self) -> None:
        self.cfg = self
        self.log = logging.getLogger("test.hooks")
        self.num_workers = 1

    def __getattr__(self, hook: str) -> Any:
        def fails(*_: object) -> None:
            raise ValueError(hook)

        return fails


@pytest.mark.parametrize(
    ("generation", "moment", "hook"),
    [(1, "begin", "on_starting"), (2, "begin", "on_reload"), (1, "ready", "when_ready")],
)
def test_while_a_generation_starts_it_is_raised(generation: int, moment: str, hook: str) -> None:
    arbiter: Any = FakeArbiter()
    with pytest.raises(ValueError, match=hook):
        getattr(Hooks(arbiter, generation), moment)()


def test_while_a_generation_serves_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    arbiter: Any = FakeArbiter()
    hooks = Hooks(arbiter, generation=2)
    hooks.ready()  # not alone yet
    hooks.heard(Alone())
    hooks.heard(Buried(4711, 3))
    hooks.child_exit(None)
    hooks.heard(Scaled(5))
    hooks.end()
    names = ["when_ready", "child_exit", "child_exit", "on_exit"]
    assert caplog.messages == [f"Exception in {name} hook" for name in names]
    assert arbiter.num_workers == 5
