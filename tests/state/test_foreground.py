"""Where a foreground cluster keeps its folder, and what becomes of it where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher import places
from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.state.foreground import NoFolder, claimed
from launcher.state.home import Home
from tests.faults.wire import get
from tests.support import StartCluster, eventually

NO_HOME = {"HOME": "/proc/none"}
"""Where nobody can make a folder, not even root."""

RUN_BARE = r"""
mount --make-rprivate / && mount -o remount,ro,bind / || exit 99
[ "$SHM" = rw ] || mount -o remount,ro,bind /dev/shm || exit 99
caps="--inh-caps +dac_read_search --ambient-caps +dac_read_search"
exec setpriv --reuid "$UID_" --regid "$UID_" --clear-groups $caps \
    env -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" "$@"
"""
"""As in a container of the strict kind. The capability is for a Python that is root's own."""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /dev/shm, while no home is to be had."""
    monkeypatch.setattr(places, "SHARED_MEMORY", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc/none")
    return tmp_path / f"launcher-{os.geteuid()}"


def test_a_home_that_can_be_written_is_the_place(tmp_path: Path) -> None:
    with claimed("web", {"LAUNCHER_HOME": str(tmp_path / "h")}) as (folder, problem):
        assert (folder.path, problem) == (f"{tmp_path}/h/web", "")
        assert folder.findable


def test_the_places_in_their_order(tmp_path: Path, memory: Path) -> None:
    for environ, place in (
        ({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path / "launcher"),
        ({"XDG_RUNTIME_DIR": "relative"}, memory),
        ({"XDG_RUNTIME_DIR": f"{tmp_path}/none"}, memory),
        ({}, memory),
    ):
        with claimed("web", environ) as (folder, problem):
            assert folder.path == f"{place}/web"
            assert problem.startswith("/proc/none/.launcher: No such file or directory: its state")
            assert problem.endswith(f"LAUNCHER_HOME={place}")
            folder.write_app_json(Settings().to_json())
            with Home.open_existing(environ) or pytest.fail("not found") as home:
                assert home.path == str(place)
                assert home.entry("web")
    assert (memory.stat().st_mode & 0o777) == 0o700
    assert not (tmp_path / "none").exists()


def test_what_others_have_put_there_is_not_taken(memory: Path) -> None:
    memory.mkdir()
    memory.chmod(0o777)
    with claimed("web", {}) as (folder, problem):
        assert isinstance(folder, NoFolder)
        assert "other commands cannot find it" in problem
    assert list(memory.iterdir()) == []
    memory.rmdir()
    memory.symlink_to("/tmp")
    with claimed("web", {}) as (folder, _):
        assert not folder.findable


def test_a_home_that_cannot_be_written_is_not_the_place(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can write everywhere, so what access(2) says is another user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Home, "writable", lambda home: home.path == str(memory))
    with claimed("web", {}) as (folder, problem):
        assert folder.path == f"{memory}/web"
        assert problem.startswith(f"{tmp_path}/.launcher cannot be written: its state is in")


def test_a_wish_that_cannot_be_met_is_an_error(memory: Path) -> None:
    for path in ("/proc/none", "/sys"):
        with pytest.raises(LauncherError, match=f"^{path}"), claimed("x", {"LAUNCHER_HOME": path}):
            pass
    assert not memory.exists()


def test_one_of_that_name_is_enough(memory: Path) -> None:
    with (
        claimed("web", {}),
        pytest.raises(LauncherError, match="cluster 'web' is already running"),
        claimed("web", {}),
    ):
        pass


def test_readers_do_not_leave_a_home_that_can_be_written(memory: Path, tmp_path: Path) -> None:
    memory.mkdir(0o700)
    environ = {"HOME": str(tmp_path / "me")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", environ["HOME"])
        Home.open(environ).close()
        with Home.open_existing(environ) or pytest.fail("not found") as home:
            assert home.path == f"{environ['HOME']}/.launcher"


def test_without_any_folder_all_the_same(memory: Path) -> None:
    memory.touch()
    with claimed("web", {}) as (folder, _), folder.bind_control_socket() as listener:
        folder.write_app_json({})
        assert folder.before is None
        assert listener.getsockname().startswith(b"\0")


def test_no_home_and_commands_find_it(start_cluster: StartCluster, tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "LAUNCHER_HOME": "", **NO_HOME}
    cluster = start_cluster("echo:app", "-w", "1", **environ)
    cluster.home = tmp_path / "launcher"
    cluster.ready()
    assert cluster.log.startswith("launcher: /proc/none/.launcher: No such file or directory: its")
    assert cluster.command("reload", "echo").stdout.startswith("reloaded echo: generation 2")
    assert cluster.command("save").stdout == "saved 1 cluster: echo\n"
    assert cluster.command("start", "echo:app").stderr == (
        "launcher: /proc/none/.launcher: No such file or directory:"
        " set LAUNCHER_HOME to a folder you can write\n"
    )
    assert cluster.command("stop", "echo").stdout == "stopped echo\n"
    assert cluster.process.wait(10) == 0


def _can_be_bare() -> bool:
    tools = all(map(shutil.which, ("unshare", "setpriv", "mount")))
    return os.geteuid() == 0 and tools and not subprocess.call(["unshare", "-m", "true"])


@pytest.mark.parametrize("shm", ["rw", "ro"])
def test_a_random_user_without_home_on_a_read_only_root(
    start_cluster: StartCluster, shm: str
) -> None:
    if not _can_be_bare():
        pytest.skip("needs root, unshare, setpriv and mount")
    uid = 100_000 + os.getpid()
    mine = Path(places.SHARED_MEMORY) / f"launcher-{uid}"
    prefix = ("unshare", "-m", "sh", "-c", RUN_BARE, "sh")
    try:
        cluster = start_cluster("echo:app", "-w", "1", prefix=prefix, UID_=str(uid), SHM=shm)
        ready = eventually(lambda: re.search(r"ready at http://127.0.0.1:(\d+)", cluster.log))
        assert get(("127.0.0.1", int(ready[1])), "/clustered").text.endswith("#1")
        first, *_ = cluster.log.splitlines()
        assert first.startswith("launcher: no home folder is known for this user: it")
        assert ("other commands cannot find it" in first) == (shm == "ro")
        assert ("stop echo" in cluster.log) == mine.exists() == (shm == "rw")
        assert "Traceback" not in cluster.log
        assert cluster.stop() == 0
    finally:
        shutil.rmtree(mine, ignore_errors=True)
