"""How a cluster in the foreground behaves to whoever started it, and to its app."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.tools import (
    Address,
    Request,
    ask,
    free_port,
    get,
    worker_of,
    zombies_below,
)
from tests.support import APPS, ROOT, Cluster, StartCluster, alive, children, eventually, title


def every_worker(address: Address, path: str, count: int) -> list[dict[str, Any]]:
    """What each of ``count`` workers says at ``path``; they take turns."""
    replies = [get(address, path) for _ in range(count)]
    assert {reply.status for reply in replies} == {200}
    return [json.loads(reply.text) for reply in replies]


# What it says


def test_the_banner_says_where_how_many_why_and_how_to_stop(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--name", "web").ready()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[primary\] "
    where = re.escape(cluster.url)
    assert re.search(
        rf"^{stamp}'web' is ready at {where}, workers: 2: --workers$", cluster.log, re.MULTILINE
    )
    assert re.search(
        rf"^{stamp}to stop it: Ctrl-C here, or python -m launcher stop web$",
        cluster.log,
        re.MULTILINE,
    )


def test_the_banner_comes_once_and_only_when_all_are_ready(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    cluster = start_cluster("gate:app", "-w", "2", GATE=str(gate))
    eventually(lambda: cluster.status()["status"] == "launching")
    assert "is ready" not in cluster.log
    gate.touch()
    cluster.ready()
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    eventually(lambda: {worker["id"] for worker in cluster.workers()} == {2, 3})
    assert cluster.log.count(" is ready at ") == 1


def test_lines_of_workers_name_id_and_slot(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pids = {worker["id"]: worker["pid"] for worker in cluster.workers()}
    assert cluster.stop() == 0
    for worker, slot in ((1, 0), (2, 1)):
        assert f" [worker {worker} slot {slot}] Worker exiting (pid: {pids[worker]})" in cluster.log


def test_processes_are_called_what_they_are(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2", "--name", "web").ready()
    (pool,) = children(cluster.pid)
    assert title(cluster.pid) == "launcher: primary [web]"
    assert title(pool) == "launcher: pool [web] gen 1"
    titles = {worker["id"]: title(worker["pid"]) for worker in cluster.workers()}
    assert titles == {
        1: "launcher: worker 1 slot 0 [web]",
        2: "launcher: worker 2 slot 1 [web]",
    }


def test_the_access_log_has_a_line_per_request(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--access-log").ready()
    get(cluster.address, "/clustered?marked")
    eventually(lambda: '"GET /clustered?marked HTTP/1.1" 200' in cluster.log)
    assert cluster.log.count("marked") == 1


# systemd


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket such as systemd's, and what NOTIFY_SOCKET says."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(30)
        yield sock, path


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    start_cluster: StartCluster, tmp_path: Path, systemd: tuple[socket.socket, str]
) -> None:
    sock, path = systemd
    gate = tmp_path / "gate"
    cluster = start_cluster("gate:app", "-w", "2", NOTIFY_SOCKET=path, GATE=str(gate))
    eventually(lambda: cluster.status()["status"] == "launching")
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1000)
    sock.settimeout(30)
    gate.touch()
    assert sock.recv(1000).splitlines() == [b"READY=1", b"STATUS=2 workers ready"]
    assert len(cluster.workers()) == 2
    assert cluster.stop() == 0
    assert sock.recv(1000) == b"STOPPING=1"
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1000)


def test_a_watchdog_is_shown_signs_of_life(
    start_cluster: StartCluster, systemd: tuple[socket.socket, str]
) -> None:
    sock, path = systemd
    start_cluster("echo:app", "-w", "1", NOTIFY_SOCKET=path, WATCHDOG_USEC="4000000").ready()
    assert sock.recv(1000).startswith(b"READY=1")
    assert [sock.recv(1000) for _ in range(2)] == [b"WATCHDOG=1"] * 2


def test_the_socket_of_systemd_may_be_abstract(start_cluster: StartCluster) -> None:
    name = f"launcher-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(30)
        start_cluster("echo:app", "-w", "1", NOTIFY_SOCKET=f"@{name}")
        assert sock.recv(1000).startswith(b"READY=1\n")


def test_a_systemd_that_is_gone_is_no_reason_to_fail(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster("echo:app", "-w", "1", NOTIFY_SOCKET=str(tmp_path / "gone"))
    assert ask(cluster.ready().address) == 1
    assert cluster.stop() == 0


INHERIT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
systemd = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
os.environ.update(systemd, LISTEN_TO="music")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a command as systemd does: with a listening socket as descriptor 3."""


def test_a_socket_that_systemd_passes_is_listened_on(start_cluster: StartCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        prefix = sys.executable, "-c", INHERIT, str(fd)
        cluster = start_cluster("loader:app", "-w", "2", prefix=prefix, pass_fds=(fd,))
        cluster.ready()
        assert cluster.address == sock.getsockname()
        assert {ask(cluster.address) for _ in range(4)} == {1, 2}
        (environment,) = every_worker(cluster.address, "/environment", 1)
        assert [key for key in environment if key.startswith("LISTEN_")] == ["LISTEN_TO"]


def test_a_listener_that_fails_does_not_hold_up_the_primary(start_cluster: StartCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        cluster = start_cluster("echo:app", "--bind", f"fd://{fd}", pass_fds=(fd,)).ready()
        sock.shutdown(socket.SHUT_RD)  # whoever else has the socket can do that
        eventually(lambda: "cannot accept: Invalid argument" in cluster.log)
        assert cluster.status()["status"] == "online"
        assert cluster.stop() == 0


FEW_DESCRIPTORS = "sh", "-c", 'ulimit -Sn 300 && exec "$@"', "sh"


def test_every_process_may_have_as_many_descriptors_as_the_hard_limit_allows(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "2", prefix=FEW_DESCRIPTORS).ready()
    limits = {resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in cluster.pids()}
    assert len(limits) == 1
    soft, hard = limits.pop()
    assert soft == hard > 300


# PID 1

IN_A_NAMESPACE = "unshare", "--fork", "--pid", "--mount-proc"


@pytest.fixture
def as_pid_1(start_cluster: StartCluster) -> Iterator[tuple[Cluster, int, tuple[str, int]]]:
    """A cluster that is PID 1, with its pid as seen from here and its address."""
    probe = subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no PID namespace to be had here: {probe.stderr.decode().strip()}")
    address = ("127.0.0.1", free_port())
    cluster = start_cluster(
        "orphans:app", "-w", "2", "--port", str(address[1]), prefix=IN_A_NAMESPACE
    )
    assert eventually(lambda: ask(address), within=30)
    (primary,) = children(cluster.process.pid)
    yield cluster, primary, address
    if alive(primary):  # unshare itself passes no signal on
        os.kill(primary, signal.SIGKILL)


def pid_inside(pid: int) -> str:
    """The pid of a process in its own namespace."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_pid_1_it_finishes_ends_everybody_and_exits_0(
    as_pid_1: tuple[Cluster, int, tuple[str, int]], number: signal.Signals
) -> None:
    cluster, primary, address = as_pid_1
    assert pid_inside(primary) == "1"
    everybody = [primary, *(pid for pool in children(primary) for pid in [pool, *children(pool)])]
    assert len(everybody) == 4
    with Request(address, "/sleep/0.5") as running:
        eventually(lambda: "slept" if ask(address) else None)
        os.kill(primary, number)
        assert running.reply().text == "slept"
    assert cluster.process.wait(15) == 0
    assert not any(map(alive, everybody))


def test_as_pid_1_it_collects_what_the_system_gives_it(
    as_pid_1: tuple[Cluster, int, tuple[str, int]],
) -> None:
    _, primary, address = as_pid_1
    assert get(address, "/orphan").status == 200
    orphan = eventually(lambda: orphan_of(primary))
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists())
    assert zombies_below(primary) == []
    assert ask(address) in (1, 2), "somebody else's end does no harm"


def orphan_of(primary: int) -> int | None:
    """The process that the app of orphans.py has left to the primary, if it has."""
    for pid in children(primary):
        if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
            return pid
    return None


def test_orphans_of_the_app_are_collected_without_being_pid_1(start_cluster: StartCluster) -> None:
    cluster = start_cluster("orphans:app", "-w", "1").ready()
    get(cluster.address, "/orphan")
    orphan = eventually(lambda: orphan_of(cluster.pid))
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists())
    assert ask(cluster.address) == 1


# What the app sees


def test_the_app_knows_its_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "2").ready()
    pids = {worker["id"]: worker["pid"] for worker in cluster.workers()}
    host = cluster.address[0]
    seen = every_worker(cluster.address, "/who", 2)
    assert sorted(seen, key=lambda who: who["id"]) == [
        {
            "id": number,
            "slot": number - 1,
            "generation": 1,
            "pid": pids[number],
            "environ_id": number,
            "environ_slot": number - 1,
            "WORKER_ID": str(number),
            "WORKER_SLOT": str(number - 1),
            "remote": host,
            "server": "test",
        }
        for number in (1, 2)
    ]


def test_a_replacement_has_a_new_id_and_the_old_slot(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    (who,) = every_worker(cluster.address, "/who", 1)
    assert (who["id"], who["slot"], who["generation"]) == (2, 0, 1)
    assert (who["WORKER_ID"], who["WORKER_SLOT"]) == ("2", "0")


def test_outside_a_cluster_everything_is_0() -> None:
    code = "from launcher import current_worker as w; print(w.id, w.slot, w.generation)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 0 0\n"


def test_a_callable_that_is_not_flask(start_cluster: StartCluster) -> None:
    cluster = start_cluster("plain:application", "-w", "2").ready()
    assert {get(cluster.address).text for _ in range(4)} == {"plain 1", "plain 2"}


# An app in a folder of its own

SITE = """
import os, pathlib, sys

GREETING = pathlib.Path("greeting.txt").read_text()


def make(name, loud=False):
    def application(environ, start_response):
        body = f"{GREETING} {name}{'!' * loud} from {os.getcwd()}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    return application


app = make("app")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an app as a module, one that is called ``app``, and one as a package."""
    folder = tmp_path / "my site"
    (folder / "shop").mkdir(parents=True)
    (folder / "greeting.txt").write_text("hello")
    (folder / "myapp.py").write_text(SITE)
    (folder / "app.py").write_text(SITE)
    (folder / "shop" / "__init__.py").write_text(SITE)
    (folder / "shop" / "wsgi.py").write_text("from . import make\n\napp = make('shop')\n")
    return folder


APPS_OF_THE_SITE = {
    "myapp:app": "app",
    "app:app": "app",
    "shop:app": "app",
    "shop.wsgi:app": "shop",
    "myapp:make('you')": "you",
    "myapp:make('you', loud=True)": "you!",
}


@pytest.mark.parametrize("app", APPS_OF_THE_SITE)
def test_an_app_is_served_from_the_folder_one_is_in(
    start_cluster: StartCluster, site: Path, app: str
) -> None:
    cluster = start_cluster(app, "-w", "1", folder=site).ready()
    assert get(cluster.address).text == f"hello {APPS_OF_THE_SITE[app]} from {site}"
    assert cluster.status()["app"] == app


def test_an_app_is_served_from_another_folder(
    start_cluster: StartCluster, site: Path, tmp_path: Path
) -> None:
    cluster = start_cluster("shop.wsgi:app", "-w", "1", "--chdir", "my site", folder=tmp_path)
    assert get(cluster.ready().address).text == f"hello shop from {site}"


def test_every_worker_and_every_later_one_is_in_that_folder(
    start_cluster: StartCluster, site: Path
) -> None:
    cluster = start_cluster("myapp:app", "-w", "2", "--no-preload", folder=site).ready()
    assert {get(cluster.address).text for _ in range(4)} == {f"hello app from {site}"}
    (pool,) = children(cluster.pid)
    os.kill(pool, signal.SIGKILL)
    eventually(lambda: [worker["generation"] for worker in cluster.workers()] == [2, 2])
    assert {get(cluster.address).text for _ in range(4)} == {f"hello app from {site}"}


# Where it listens


def test_a_unix_socket(start_cluster: StartCluster, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    cluster = start_cluster("echo:app", "-w", "2", "--bind", f"unix:{path}").ready()
    assert cluster.status()["bind"] == [f"unix:{path}"]
    assert f"is ready at unix:{path}," in cluster.log
    assert stat.S_IMODE(path.stat().st_mode) == 0o777, "as gunicorn's: a proxy is another user"
    assert [ask(str(path)) for _ in range(4)] == [1, 2, 1, 2]
    assert cluster.stop() == 0
    assert not path.exists()


def test_the_socket_of_a_killed_primary_is_replaced(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    path = tmp_path / "web.sock"
    command = "echo:app", "-w", "1", "--bind", f"unix:{path}"
    cluster = start_cluster(*command).ready()
    cluster.process.kill()
    cluster.process.wait()
    assert path.is_socket()
    start_cluster(*command).ready()
    assert ask(str(path)) == 1


def test_ipv6(start_cluster: StartCluster) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 on this machine")
    cluster = start_cluster("echo:app", "-w", "2", "--bind", "[::1]:0").ready()
    address = cluster.address
    assert address[0] == "::1"
    assert f"is ready at http://[::1]:{address[1]}," in cluster.log
    assert [ask(address) for _ in range(4)] == [1, 2, 1, 2]
    assert json.loads(get(address, "/who").text)["remote"] == "::1"


def test_a_socket_that_is_passed(start_cluster: StartCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        cluster = start_cluster("echo:app", "-w", "2", "--bind", f"fd://{fd}", pass_fds=(fd,))
        cluster.ready()
        assert cluster.address == sock.getsockname()
        assert [ask(cluster.address) for _ in range(4)] == [1, 2, 1, 2]


def test_several_addresses_at_once(start_cluster: StartCluster, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    cluster = start_cluster(
        "echo:app", "-w", "2", "--bind", "127.0.0.1:0", "--bind", f"unix:{path}"
    ).ready()
    assert [ask(cluster.address), ask(str(path)), ask(cluster.address)] == [1, 2, 1]


# gunicorn's configuration

HOOKS = """
import os

raw_env = ["COLOUR=blue"]
ONE = "on_starting when_ready on_exit post_worker_init worker_int worker_abort".split()
TWO = "pre_fork post_fork child_exit worker_exit pre_request".split()


def note(name):
    fd = os.open(os.environ["HOOKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name} {os.getpid()}\\n".encode())
    os.close(fd)


for hook in ONE:
    exec(f"def {hook}(one): note('{hook}')")
for hook in TWO:
    exec(f"def {hook}(one, two): note('{hook}')")


def post_request(worker, request, environ, response):
    note(f"post_request:{response.status}:{environ['PATH_INFO']}")
"""


def test_the_hooks_of_a_gunicorn_config_run_where_they_should(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    config, log = tmp_path / "gunicorn.conf.py", tmp_path / "hooks"
    config.write_text(HOOKS)
    cluster = start_cluster(
        "loader:app", "-w", "1", "--gunicorn-config", str(config), HOOKS=str(log)
    ).ready()
    (pool,) = children(cluster.pid)
    (worker,) = children(pool)
    (environment,) = every_worker(cluster.address, "/environment", 1)
    assert environment["COLOUR"] == "blue"
    assert cluster.stop() == 0
    who = {pool: "pool", worker: "worker"}
    lines = [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
    assert [(hook, who[int(pid)]) for hook, pid in lines] == [
        ("on_starting", "pool"),
        ("when_ready", "pool"),
        ("pre_fork", "pool"),
        ("post_fork", "worker"),
        ("post_worker_init", "worker"),
        ("pre_request", "worker"),
        ("post_request:200 OK:/environment", "worker"),
        ("worker_exit", "worker"),
        ("child_exit", "pool"),
        ("on_exit", "pool"),
    ]


def test_what_a_gunicorn_config_sets_in_vain_is_said(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "inner.py").write_text("from echo import app\n")
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(
        "bind = ':1'\nworkers = 9\ntimeout = 1\npythonpath = 'src'\nloglevel = 'info'\n"
    )
    options = ("--chdir", str(tmp_path), "--gunicorn-config", str(config), "-w", "1")
    path = os.pathsep.join(map(str, (ROOT, APPS)))
    cluster = start_cluster("inner:app", *options, PYTHONPATH=path).ready()
    named = "bind (see --bind), timeout (see --timeout), workers (see --workers)"
    assert f"{config}: not used here: {named}\n" in cluster.log
    assert ask(cluster.address) == 1


# Loading before or after the fork


def loaders(cluster: Cluster) -> set[tuple[int, int]]:
    """For each of two workers, who loaded the app and the worker's own pid."""
    seen = every_worker(cluster.address, "/loaded-by", 2)
    return {(each["loaded_by"], each["pid"]) for each in seen}


def test_the_app_is_loaded_once_in_the_pool(start_cluster: StartCluster) -> None:
    cluster = start_cluster("loader:app", "-w", "2").ready()
    (pool,) = children(cluster.pid)
    assert loaders(cluster) == {(pool, worker["pid"]) for worker in cluster.workers()}
    assert "loads the app for itself" not in cluster.log


def test_without_preload_each_worker_loads_it(start_cluster: StartCluster) -> None:
    cluster = start_cluster("loader:app", "-w", "2", "--no-preload").ready()
    assert loaders(cluster) == {(worker["pid"], worker["pid"]) for worker in cluster.workers()}
    assert "loads the app for itself" not in cluster.log


def test_an_app_with_a_thread_is_loaded_by_each_worker(start_cluster: StartCluster) -> None:
    cluster = start_cluster("threaded:app", "-w", "2").ready()
    assert loaders(cluster) == {(worker["pid"], worker["pid"]) for worker in cluster.workers()}
    line = "[primary] each worker loads the app for itself: loading it started the thread 'metrics'"
    assert cluster.log.count("each worker loads the app for itself") == 1
    assert line in cluster.log


def test_an_app_with_a_connection_is_loaded_by_each_worker(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    path = tmp_path / "database"
    with socket.socket(socket.AF_UNIX) as database:
        database.bind(str(path))
        database.listen()
        cluster = start_cluster("connected:app", "-w", "2", PEER=str(path)).ready()
        assert loaders(cluster) == {(w["pid"], w["pid"]) for w in cluster.workers()}
    reason = f"loading it opened a connection to unix:{path}"
    assert f"[primary] each worker loads the app for itself: {reason}\n" in cluster.log
    assert cluster.log.count("each worker loads the app for itself") == 1


def test_an_app_with_a_database_is_loaded_by_each_worker(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    database, app = tmp_path / "data.sqlite", tmp_path / "keeps.py"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("create table things (name text)")
    app.write_text(
        f"import sqlite3\nfrom loader import app\nopened = sqlite3.connect({str(database)!r})\n"
        "opened.execute('select * from things')\n"
    )
    path = os.pathsep.join(map(str, (ROOT, APPS)))
    cluster = start_cluster(
        "keeps:app", "-w", "2", "--chdir", str(tmp_path), PYTHONPATH=path
    ).ready()
    assert loaders(cluster) == {(w["pid"], w["pid"]) for w in cluster.workers()}
    reason = f"loading it opened the database {database}"
    assert f"each worker loads the app for itself: {reason}\n" in cluster.log


def test_a_worker_that_loads_for_itself_is_replaced_by_one_that_does(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("threaded:app", "-w", "1").ready()
    os.kill(cluster.workers()[0]["pid"], signal.SIGKILL)
    assert worker_of(get(cluster.address)) == 2
    assert len(children(children(cluster.pid)[0])) == 1
