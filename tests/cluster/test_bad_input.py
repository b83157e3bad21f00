"""What cannot work is told in one line, with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from launcher.cli import main
from tests.cluster.tools import ask, free_port, session
from tests.support import APPS, ROOT, StartCluster, alive, eventually

NOBODY = 65534

APP_SOURCES = {
    "raises": 'def setting(text):\n    raise ValueError(f"no such {text}")\n\n\nsetting("thing")\n',
    "nested": "import raises\n",
    "leaves": 'import sys\n\nsys.exit("no licence")\n',
    "leaves_with_0": "raise SystemExit(0)\n",
    "vanishes": "import os\n\nos._exit(3)\n",
    "crashes": "import os\n\nos.kill(os.getpid(), 9)\n",
    "broken": "app = (\n",
    "depends": "import there_is_no_such_package\n",
    "empty": "",
    "number": "app = 5\n",
    "hangs": "import time\n\ntime.sleep(1000)\n",
    "wordy": 'raise ValueError("x" * 1_000_000)\n',
    "interrupts": "raise KeyboardInterrupt\n",
    "factory": "def make(a):\n    return undefined\n",
    "maker": "def create_app(config=None):\n    return None\n",
    "asgi": "async def app(scope, receive, send):\n    pass\n\n\nclass Api:\n"
    "    async def __call__(self, scope, receive, send):\n        pass\n\n\napi = Api()\n",
}


class Failure:
    """A ``run`` that has ended by itself, looked at from all sides."""

    prefix: ClassVar[tuple[str, ...]] = ()
    """A command that starts it in its own place."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.home = Path(environment.get("LAUNCHER_HOME", folder / "home"))
        self._run(folder, arguments, environment)
        self.left = session(self._leader)

    def _run(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "launcher", *arguments],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "LAUNCHER_HOME": str(self.home),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._leader = process.pid
        try:
            self.stdout, self.stderr = process.communicate(timeout=30)
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
        self.status = process.returncode

    @property
    def line(self) -> str:
        """The one line that says why."""
        assert self.stdout == ""
        assert re.fullmatch(r"launcher: [^\n]+\n", self.stderr)
        return self.stderr.removeprefix("launcher: ").rstrip("\n")

    def leaves_nothing(self) -> bool:
        """Whether neither a process nor anything in the state folder is left."""
        eventually(lambda: not any(map(alive, self.left)), within=2)
        assert not self.home.is_dir() or [*self.home.iterdir()] == []
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of apps that do not work."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, source in APP_SOURCES.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def refused(folder: Path, *arguments: str, status: int, **environment: str) -> str:
    """The line with which a command fails, having checked that this is all it did."""
    failure = Failure(folder, *arguments, **environment)
    assert failure.status == status, failure.stderr
    assert failure.leaves_nothing()
    return failure.line


# The app


NOT_THERE = {
    "nosuch:app": "there is no module 'nosuch' in {folder}",
    "empty.nosuch:app": "there is no module 'empty.nosuch' in {folder}",
    "maker:create_app": "it does not take (environ, start_response);"
    " if it makes the app, write 'maker:create_app()'",
    "asgi:app": "it is an ASGI app, and this serves WSGI apps",
    "asgi:api": "it is an ASGI app, and this serves WSGI apps",
    "empty:nosuch": "Failed to find attribute 'nosuch' in 'empty'.",
    "empty:nosuch()": "Failed to find attribute 'nosuch' in 'empty'.",
    "empty": "'empty' has neither app, application nor create_app(): say which is its app: "
    "empty:NAME",
    "factory:make()": "TypeError: make() missing 1 required positional argument: 'a'",
    "factory:make(": "Failed to parse 'make(' as an attribute name or function call.",
    "factory:make(x)": "Failed to parse arguments as literal values: 'make(x)'",
    "number:app": "Application object must be callable.",
}


@pytest.mark.parametrize(
    ("app", "preload"),
    [*((app, "--preload") for app in NOT_THERE), ("nosuch:app", "--no-preload")],
)
def test_an_app_that_is_not_there(folder: Path, app: str, preload: str) -> None:
    failure = Failure(folder, "run", app, "--port", "0", preload)
    line = f"launcher: cannot load {app!r}: {NOT_THERE[app].format(folder=folder)}"
    assert failure.status == 1
    assert failure.stderr.splitlines()[-1] == line
    assert "Traceback" not in failure.stderr
    assert failure.leaves_nothing()


def test_an_app_that_is_not_there_is_told_in_one_line(folder: Path) -> None:
    line = refused(folder, "run", "nosuch:app", "--port", "0", status=1)
    assert line == f"cannot load 'nosuch:app': there is no module 'nosuch' in {folder}"


FAILS = {
    "raises:app": ('raises.py", line 5', "ValueError: no such thing"),
    "nested:app": ('nested.py", line 1', "ValueError: no such thing"),
    "factory:make(1)": ('factory.py", line 2', "NameError: name 'undefined' is not defined"),
    "leaves:app": ('leaves.py", line 3', "it called sys.exit('no licence') while it was loaded"),
    "leaves_with_0:app": ('leaves_with_0.py", line 1', "it called sys.exit(0) while it was loaded"),
    "broken:app": ('broken.py", line 1', "SyntaxError: '(' was never closed"),
    "depends:app": ('depends.py", line 1', "No module named 'there_is_no_such_package'"),
    "interrupts:app": ('interrupts.py", line 1', "KeyboardInterrupt"),
}
"""Where each app fails, and how that is told."""


@pytest.mark.parametrize(
    ("app", "preload"),
    [
        *((app, "--preload") for app in FAILS),
        ("nested:app", "--no-preload"),
        ("leaves:app", "--no-preload"),
    ],
)
def test_an_app_that_fails_shows_its_own_frames_and_no_others(
    folder: Path, app: str, preload: str
) -> None:
    place, reason = FAILS[app]
    failure = Failure(folder, "run", app, "--port", "0", "-w", "1", preload)
    assert failure.status == 1
    assert f'File "{folder}/{place}' in failure.stderr
    assert failure.stderr.splitlines()[-1] == f"launcher: cannot load {app!r}: {reason}"
    frames = re.findall(r'File "([^"]+)"', failure.stderr)
    assert {Path(frame).parent for frame in frames} == {folder}
    assert failure.stderr.count("Traceback (most recent call last)") <= 1
    assert failure.leaves_nothing()


def test_the_error_of_the_app_is_shown_once_though_every_worker_meets_it(folder: Path) -> None:
    failure = Failure(folder, "run", "raises:app", "--port", "0", "-w", "4", "--no-preload")
    assert failure.status == 1
    assert failure.stderr.count("Traceback (most recent call last)") == 1


def test_an_app_that_says_very_much_when_it_fails(folder: Path) -> None:
    failure = Failure(folder, "run", "wordy:app", "--port", "0")
    assert failure.status == 1
    assert f'File "{folder}/wordy.py", line 1' in failure.stderr
    assert "launcher: cannot load 'wordy:app': ValueError: xxx" in failure.stderr
    assert "launcher/" not in failure.stderr
    assert len(failure.stderr) < 200_000
    assert failure.leaves_nothing()


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("vanishes:app", "the pool exited with status 3 while the app was being loaded"),
        ("crashes:app", "the pool was killed by SIGKILL while the app was being loaded"),
    ],
)
def test_an_app_that_ends_its_process(folder: Path, app: str, reason: str) -> None:
    failure = Failure(folder, "run", app, "--port", "0")
    assert failure.status == 1
    assert failure.stderr.splitlines()[-1] == f"launcher: {reason}"
    assert "Traceback" not in failure.stderr
    assert failure.leaves_nothing()


def test_an_app_that_never_finishes_loading(folder: Path) -> None:
    failure = Failure(folder, "run", "hangs:app", "--port", "0", "--boot-timeout", "0.5")
    assert failure.status == 1
    assert failure.stderr.splitlines()[-1] == "launcher: the app was not loaded within 0.5 s"
    assert failure.leaves_nothing()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nosuch\n", "No module named 'nosuch'"),
        ("workers = \n", "invalid syntax"),
        ("post_fork = 5\n", "post_fork = 5: "),
        ("loglevel = 7\n", "loglevel = 7: "),
    ],
)
def test_a_gunicorn_config_that_does_not_work(folder: Path, text: str, reason: str) -> None:
    (folder / "gunicorn.conf.py").write_text(text)
    failure = Failure(
        folder, "run", "number:app", "--port", "0", "--gunicorn-config", "gunicorn.conf.py"
    )
    assert failure.status == 1
    last = failure.stderr.splitlines()[-1]
    assert last.startswith("launcher: ")
    assert "gunicorn.conf.py" in last
    assert reason in last
    assert "launcher/" not in failure.stderr
    assert failure.leaves_nothing()


# Where to listen

RUN = "run", "plain:application"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", "has no port: write 127.0.0.1:3000"),
        ("127.0.0.1:99999", "has a port that is not a whole number from 0 to 65535"),
        ("300.1.1.1:80", "has no valid IPv4 address before its port"),
        ("::1:3000", "looks like IPv6: put it in brackets"),
        ("[::zz]:3000", "has no IPv6 address between its brackets"),
    ],
)
def test_an_address_that_is_none(address: str, reason: str) -> None:
    line = refused(APPS, *RUN, "--bind", address, status=2)
    assert line.startswith(f"--bind: {address!r} {reason}")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.1:0", "cannot assign requested address"),
        ("no.such.host.invalid:0", "no such host"),
        ("unix:/nonexistent/web.sock", "no such file or directory"),
        ("fd://0", "socket operation on non-socket"),
        ("fd://999", "bad file descriptor"),
    ],
)
def test_an_address_that_cannot_be_had(tmp_path: Path, address: str, reason: str) -> None:
    line = refused(APPS, *RUN, "--bind", address, status=1, LAUNCHER_HOME=str(tmp_path / "home"))
    assert line.startswith(f"cannot listen on {address}: ")
    assert reason in line


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(
            APPS, *RUN, "--port", str(port), status=1, LAUNCHER_HOME=str(tmp_path / "home")
        )
    assert line.startswith(f"cannot listen on 127.0.0.1:{port}: it is in use; ")


def test_of_two_addresses_the_one_that_can_be_had_is_given_back(tmp_path: Path) -> None:
    free = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = "--bind", free, "--bind", used
        refused(APPS, *RUN, *arguments, status=1, LAUNCHER_HOME=str(tmp_path / "home"))
    host, _, port = free.partition(":")
    socket.create_server((host, int(port))).close()


def test_a_path_where_there_is_a_file_already(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("do not remove")
    arguments = "--bind", f"unix:{file}"
    line = refused(APPS, *RUN, *arguments, status=1, LAUNCHER_HOME=str(tmp_path / "home"))
    assert line.startswith(f"cannot listen on unix:{file}: it is in use")
    assert file.read_text() == "do not remove"


def test_a_path_where_another_server_listens(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        arguments = "--bind", f"unix:{path}"
        line = refused(APPS, *RUN, *arguments, status=1, LAUNCHER_HOME=str(tmp_path / "home"))
    assert line.startswith(f"cannot listen on unix:{path}: it is in use")
    assert path.exists()


# As another user

AS_NOBODY = "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own are closed to them."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], cwd=ROOT, check=False).returncode:
        pytest.skip("another user may not read this project or its Python")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def run_as_nobody(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_NOBODY, sys.executable, "-m", "launcher", *arguments],
        cwd=APPS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LAUNCHER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_privileged_port(public: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("here everybody may listen on port 80")
    os.chown(public, NOBODY, NOBODY)
    done = run_as_nobody(public / "home", *RUN, "--port", "80")
    assert done.returncode == 1
    assert done.stderr == (
        "launcher: cannot listen on 127.0.0.1:80: permission denied; ports below 1024 need"
        " privileges, choose another with --port or --bind\n"
    )
    assert [*(public / "home").iterdir()] == []


def test_a_state_folder_that_cannot_be_made(public: Path) -> None:
    done = run_as_nobody(public / "home", *RUN, "--port", "0")
    assert done.returncode == 1
    assert done.stderr == (
        f"launcher: {public}/home: Permission denied: set LAUNCHER_HOME to a folder you can write\n"
    )
    assert [*public.iterdir()] == []


def test_a_state_folder_that_cannot_be_written(public: Path) -> None:
    home = public / "home"
    home.mkdir(mode=0o500)
    os.chown(home, NOBODY, NOBODY)
    done = run_as_nobody(home, *RUN, "--port", "0")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"launcher: {home}[^\n]*: Permission denied: set LAUNCHER_HOME to a folder [^\n]+\n",
        done.stderr,
    )
    assert [*home.iterdir()] == []


@pytest.mark.parametrize("command", [(*RUN, "--port", "0"), ("list",), ("stop", "web")])
def test_a_state_folder_of_somebody_else(public: Path, command: tuple[str, ...]) -> None:
    home = public / "home"
    home.mkdir(mode=0o755)
    done = run_as_nobody(home, *command)
    assert done.returncode == 1
    assert done.stderr == (
        f"launcher: {home} belongs to user id 0, not to you ({NOBODY}):"
        " set LAUNCHER_HOME to a folder of your own\n"
    )
    assert [*home.iterdir()] == []


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("mine")
    line = refused(APPS, *RUN, "--port", "0", status=1, LAUNCHER_HOME=str(home))
    assert line.startswith(f"{home}: is not a folder: ")
    assert home.read_text() == "mine"


# Numbers and names


@pytest.mark.parametrize("text", ["0", "-1", "abc", "", "513"])
def test_a_number_of_workers_that_is_none(tmp_path: Path, text: str) -> None:
    line = refused(tmp_path, *RUN, f"--workers={text}", status=2)
    assert line.startswith(f"--workers: {text!r} is ")


@pytest.mark.parametrize("text", ["abc", "0"])
def test_a_web_concurrency_that_is_no_number(tmp_path: Path, text: str) -> None:
    line = refused(tmp_path, *RUN, status=2, WEB_CONCURRENCY=text)
    assert line == f"WEB_CONCURRENCY: {text!r} is not a whole number from 1 to 512"
    assert refused(tmp_path, "sizing", status=2, WEB_CONCURRENCY=text) == line


@pytest.mark.parametrize("text", ["70000", "http"])
def test_a_port_that_is_none(tmp_path: Path, text: str) -> None:
    reason = f"{text!r} is not a whole number from 0 to 65535"
    assert refused(tmp_path, *RUN, status=2, PORT=text) == f"PORT: {reason}"
    assert refused(tmp_path, *RUN, f"--port={text}", status=2) == f"--port: {reason}"


@pytest.mark.parametrize("name", ["a/b", "..", "../other", "x" * 300, "", "all"])
def test_a_name_that_cannot_be_one(tmp_path: Path, name: str) -> None:
    home = tmp_path / "deep" / "home"
    line = refused(
        tmp_path, *RUN, "--port", "0", f"--name={name}", status=2, LAUNCHER_HOME=str(home)
    )
    assert line.startswith(f"--name: {name[:40]!r}"[:-1])
    assert len(line) < 200
    assert {path.name for path in tmp_path.rglob("*")} <= {"deep", "home"}


def test_a_name_with_a_nul(capsys: pytest.CaptureFixture[str]) -> None:
    """Only within a process: no argument of a real one can hold a NUL."""
    assert main([*RUN, "--port", "0", "--name", "a\0b"]) == 2
    assert capsys.readouterr().err == "launcher: --name: 'a\\x00b' holds a NUL\n"


def test_a_name_that_runs_already(start_cluster: StartCluster) -> None:
    cluster = start_cluster("echo:app", "-w", "1", "--name", "web").ready()
    second = start_cluster("plain:application", "-w", "1", "--name", "web")
    assert second.process.wait(20) == 1
    assert second.log == (
        f"launcher: cluster 'web' is already running (pid {cluster.pid}): choose another --name,"
        " or stop it: python -m launcher stop web\n"
    )
    assert ask(cluster.address) == 1
    assert [path.name for path in cluster.home.iterdir()] == ["web"]


def test_a_second_cluster_on_the_same_port_leaves_the_first_alone(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("echo:app", "-w", "1").ready()
    port = str(cluster.address[1])
    second = start_cluster("plain:application", "-w", "1", "--port", port)
    assert second.process.wait(20) == 1
    assert second.log.startswith(f"launcher: cannot listen on 127.0.0.1:{port}: it is in use; ")
    assert ask(cluster.address) == 1
    assert eventually(lambda: [path.name for path in cluster.home.iterdir()] == ["echo"])


# The platform


def test_a_platform_without_epoll(tmp_path: Path) -> None:
    script = "import select, sys; del select.epoll; from launcher.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, *RUN],
        env={"PYTHONPATH": str(ROOT), "LAUNCHER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "launcher: needs Linux with epoll; this is linux\n"
    assert [*tmp_path.iterdir()] == []
