"""The state folder: who may be a cluster, who is one, and what is refused."""

import fcntl
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from launcher import places
from launcher.errors import LauncherError, UsageError
from launcher.events.cluster import ClusterStopped
from launcher.places import state_path
from launcher.state import cluster_folder
from launcher.state.cluster_folder import ClusterFolder
from launcher.state.event_log import EventLog, EventReader
from launcher.state.files import open_own
from launcher.state.home import Home, require_name
from launcher.state.process_id import ProcessId

ROOT = Path(__file__).parent.parent.parent

HOLDER = """
import sys
from launcher.state.home import Home
with Home.open() as home, home.claim(sys.argv[1]) as folder:
    listener = folder.bind_control_socket()
    folder.write_app_json({"app": "x:y"})
    print("claimed", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def home(path: Path) -> Iterator[Home]:
    with open_home(path) as opened:
        yield opened


def open_home(path: Path) -> Home:
    return Home.open({"LAUNCHER_HOME": str(path)})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def other_process(path: Path, name: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that is the cluster ``name`` until its stdin ends."""
    environ = {**os.environ, "LAUNCHER_HOME": str(path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLDER, name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "claimed\n"
            yield process
        finally:
            process.kill()


# The state folder


def test_it_is_made_for_this_user_only(path: Path) -> None:
    umask = os.umask(0)
    try:
        with open_home(path) as home, home.claim("web"):
            assert (mode(path), mode(path / "web"), mode(path / "web/lock")) == (
                0o700,
                0o700,
                0o600,
            )
    finally:
        os.umask(umask)


def test_readers_do_not_make_it(path: Path) -> None:
    assert Home.open_existing({"LAUNCHER_HOME": str(path)}) is None
    assert not path.exists()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    assert state_path({}) == state_path({"LAUNCHER_HOME": ""}) == "/home/me/.launcher"
    assert state_path({"LAUNCHER_HOME": "~/x"}) == "/home/me/x"
    assert state_path({"LAUNCHER_HOME": "x/"}) == str(tmp_path / "x")


def test_parents_may_be_symlinks(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    open_home(tmp_path / "link/home").close()
    assert (tmp_path / "real/home").is_dir()


@pytest.mark.parametrize("opening", [Home.open, Home.open_existing])
def test_a_symlink_is_refused(tmp_path: Path, opening: object) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(LauncherError, match=rf"^{tmp_path}/link: is a symlink: set LAUNCHER_HOME"):
        opening({"LAUNCHER_HOME": str(tmp_path / "link")})  # type: ignore[operator]


def test_a_dangling_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(LauncherError, match="is a symlink"):
        open_home(tmp_path / "link")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LauncherError, match="is not a folder"):
        open_home(tmp_path / "file")
    with pytest.raises(LauncherError, match="Not a directory"):
        open_home(tmp_path / "file/home")


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_a_folder_others_can_write_is_refused(path: Path, bits: int) -> None:
    path.mkdir()
    path.chmod(bits)
    with pytest.raises(LauncherError, match=rf"can be written by others: chmod go-w {path}"):
        open_home(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    path.mkdir(0o700)
    os.chown(path, 4242, 4242)
    with pytest.raises(LauncherError, match=r"belongs to user id 4242, not to you \(0\)"):
        open_home(path)


def test_one_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(LauncherError, match=r"^/proc/home: .*: set LAUNCHER_HOME to a folder"):
        open_home(Path("/proc/home"))


# Names


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a\0", "a" * 300, "all", "-x", ".x", "a\n"])
def test_a_bad_name_never_becomes_a_path(home: Home, path: Path, name: str) -> None:
    for use in (home.claim, home.entry, require_name, lambda bad: home.connect(bad, 1)):
        with pytest.raises(UsageError) as caught:
            use(name)
        assert str(caught.value).isprintable()
    assert list(path.iterdir()) == []


def test_only_clusters_are_listed(home: Home, path: Path, tmp_path: Path) -> None:
    (path / "notes").mkdir()
    (path / "file").touch()
    (path / ".hidden").mkdir()
    (path / ".hidden/lock").touch()
    (path / "link").symlink_to(tmp_path)
    with home.claim("web2") as two, home.claim("web1"):
        two.write_app_json({})
        assert home.names() == ["web1", "web2"]
        assert home.entry("notes") is None
    assert home.names() == ["web2"]


# Claiming


def test_the_events_of_a_cluster_are_in_its_folder_and_go_with_it(home: Home, path: Path) -> None:
    with home.folder("web") as folder:
        assert folder is None
    with home.claim("web") as claimed:
        log = EventLog(claimed, pytest.fail)
        log.keep(ClusterStopped())
        log.close()
        (path / "web" / "events.jsonl.1").touch()
        with home.folder("web") as folder:
            assert folder is not None
            assert EventReader().last(folder, 1)[0]["name"] == "web"
    assert not (path / "web").exists()


def test_a_claim_writes_who_holds_it(home: Home, path: Path) -> None:
    with home.claim("web"):
        me = ProcessId.of(os.getpid())
        assert me
        assert (path / "web/lock").read_text() == f"{os.getpid()} {me.starttime}\n"
        entry = home.entry("web")
    assert entry
    assert (entry.name, entry.process, entry.running) == ("web", me, True)


def test_a_second_claim_is_refused_with_the_pid(home: Home, path: Path) -> None:
    with other_process(path, "web") as holder, pytest.raises(LauncherError) as caught:
        home.claim("web")
    assert str(caught.value) == (
        f"cluster 'web' is already running (pid {holder.pid}): choose another --name,"
        " or stop it: python -m launcher stop web"
    )


def test_a_lock_just_taken_is_one_of_a_process_that_can_be_named(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between taking the lock and writing into it: the claim waits for the name."""
    me = ProcessId.of(os.getpid())
    with locked(path):
        monkeypatch.setattr(time, "sleep", lambda _: (path / "web/lock").write_text(f"{me}\n"))
        with pytest.raises(LauncherError, match=rf"already running \(pid {os.getpid()}\)"):
            home.claim("web")


def test_a_lock_just_given_up_is_waited_for(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(path) as lock:
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(lock, fcntl.LOCK_UN))
        home.claim("web").release(forget=True)


def test_a_lock_that_nobody_owns_up_to_is_waited_for_in_vain(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.state.cluster_folder.LOCK_UNNAMED", 0.01)
    with locked(path), pytest.raises(LauncherError, match="'web' is already running: choose"):
        home.claim("web")


@contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """Somebody holds the lock of ``web`` and has not said who it is."""
    (path / "web").mkdir(0o700)
    with open(path / "web/lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def test_a_refused_claim_leaves_the_holder_alone(home: Home, path: Path) -> None:
    with home.claim("web") as folder:
        listener = folder.bind_control_socket()
        with listener, pytest.raises(LauncherError):
            home.claim("web")
        assert (path / "web/control.sock").exists()
        assert home.entry("web")


def test_a_killed_holder_leaves_a_stale_folder_that_blocks_nothing(home: Home, path: Path) -> None:
    with other_process(path, "web") as holder:
        holder.kill()
        holder.wait()
    entry = home.entry("web")
    assert entry
    assert (entry.running, entry.settings) == (False, {"app": "x:y"})
    assert entry.dead
    assert entry.dead.pid == holder.pid
    assert (path / "web/control.sock").exists()
    with home.claim("web"):
        assert not (path / "web/control.sock").exists()


def test_one_that_ends_in_order_while_it_is_looked_at_has_not_died(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: ProcessId) -> bool:
        (path / "web/lock").write_text("")
        return False

    with home.claim("web"):
        monkeypatch.setattr(ProcessId, "alive", gone)
        entry = home.entry("web")
    assert entry
    assert (entry.process, entry.dead) == (None, None)


def test_a_zombie_does_not_run(home: Home, path: Path) -> None:
    with other_process(path, "web") as holder:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        entry = home.entry("web")
    assert entry
    assert not entry.running


@pytest.mark.parametrize(
    "text", ["", "x", "1", "{pid} 1\n", "0 0\n", "99999999999 5\n", "1 2 3\n", "\0" * 300]
)
def test_a_lock_of_no_living_process(home: Home, path: Path, text: str) -> None:
    """Among them a reused pid: ours, with another start time."""
    text = text.format(pid=os.getpid())
    (path / "web").mkdir(0o700)
    (path / "web/lock").write_text(text)
    entry = home.entry("web")
    assert entry
    assert not entry.running
    home.claim("web").release(forget=True)


def test_a_longer_old_text_in_the_lock_is_replaced(home: Home, path: Path) -> None:
    (path / "web").mkdir(0o700)
    (path / "web/lock").write_text("1" * 90 + " 1\n")
    with home.claim("web"):
        assert len((path / "web/lock").read_text().splitlines()) == 1


def test_a_reader_never_makes_a_claim_fail(home: Home, path: Path) -> None:
    (path / "web").mkdir(0o700)
    (path / "web/lock").touch()
    for _ in range(50):
        home.entry("web")
        home.claim("web").release(forget=False)


def test_a_folder_forgotten_while_it_is_claimed(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, the one before forgets it: the claim begins again."""
    first = home.claim("web")
    take = ClusterFolder.take

    def late(self: ClusterFolder) -> bool:
        first.release(forget=True)
        return take(self)

    monkeypatch.setattr(ClusterFolder, "take", late)
    with home.claim("web") as folder:
        assert os.path.samestat(os.fstat(folder.dirfd), (path / "web").stat())
        assert home.entry("web")


def test_a_lock_replaced_while_it_is_claimed(home: Home, path: Path) -> None:
    """A lock on a file that is no longer the one in the folder is worth nothing."""
    with home.claim("web"):
        (path / "web/lock").unlink()
        with home.claim("web") as second:
            assert second.path == str(path / "web")


@pytest.mark.parametrize("planted", ["web", "web/lock", "web/control.sock"])
def test_nothing_planted_is_followed(home: Home, path: Path, tmp_path: Path, planted: str) -> None:
    target = tmp_path / "target"
    target.mkdir(0o700)
    if planted != "web":
        (path / "web").mkdir(0o700)
    (path / planted).symlink_to(target)
    with pytest.raises(LauncherError, match=str(path / "web")):
        home.claim("web")
    assert list(target.iterdir()) == []


def test_a_clusters_folder_that_others_can_write_is_refused(home: Home, path: Path) -> None:
    (path / "web").mkdir()
    (path / "web").chmod(0o770)
    with pytest.raises(LauncherError, match=f"chmod go-w {path}/web"):
        home.claim("web")


def test_nothing_is_left_open(home: Home, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with home.claim("web") as folder, folder.bind_control_socket():
        with pytest.raises(LauncherError):
            home.claim("web")
        (path / "other").symlink_to(path)
        with pytest.raises(LauncherError):
            home.claim("other")
        home.entry("web")
        home.connect("web", 1).close()
    assert len(os.listdir("/proc/self/fd")) == before


# Releasing


def test_a_failed_start_leaves_nothing(home: Home, path: Path) -> None:
    with pytest.raises(RuntimeError), home.claim("web") as folder, folder.bind_control_socket():
        raise RuntimeError
    assert list(path.iterdir()) == []


def test_a_failed_start_does_not_forget_the_cluster_of_before(home: Home, path: Path) -> None:
    with home.claim("web") as folder:
        folder.write_app_json({"app": "x"})
    with pytest.raises(RuntimeError), home.claim("web"):
        raise RuntimeError
    entry = home.entry("web")
    assert entry
    assert entry.settings == {"app": "x"}


def test_releasing_keeps_the_entry_and_drops_the_lock(home: Home, path: Path) -> None:
    with home.claim("web") as folder, folder.bind_control_socket():
        folder.write_app_json({"app": "x"})
    assert sorted(os.listdir(path / "web")) == ["app.json", "lock"]
    home.claim("web").release(forget=True)
    assert list(path.iterdir()) == []


def test_releasing_twice_does_not_touch_the_next_holder(home: Home, path: Path) -> None:
    first = home.claim("web")
    first.release(forget=False)
    with home.claim("web"):
        first.release(forget=True)
        assert (path / "web/lock").exists()


def test_forgetting_keeps_what_is_not_ours(home: Home, path: Path) -> None:
    folder = home.claim("web")
    (path / "web/notes.txt").touch()
    folder.release(forget=True)
    assert os.listdir(path / "web") == ["notes.txt"]
    assert home.names() == []


# app.json


def test_app_json_is_replaced_as_a_whole(home: Home, path: Path) -> None:
    with home.claim("web") as folder:
        folder.write_app_json({"app": "long" * 100})
        folder.write_app_json({"app": "short"})
        assert json.loads((path / "web/app.json").read_text()) == {"app": "short"}
        assert (mode(path / "web/app.json"), sorted(os.listdir(path / "web"))) == (
            0o600,
            ["app.json", "lock"],
        )


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * (1 << 21)),
        *(b'{"timeout": NaN}', b'{"timeout": -Infinity}', b'{"timeout": 1e999}'),
    ],
)
def test_a_damaged_app_json_is_as_good_as_absent(home: Home, path: Path, data: bytes) -> None:
    with home.claim("web"):
        (path / "web/app.json").write_bytes(data)
        entry = home.entry("web")
    assert entry
    assert entry.settings is None


@pytest.mark.parametrize("name", ["app.json", "app.json.new"])
def test_what_is_in_the_place_of_app_json_is_named(home: Home, path: Path, name: str) -> None:
    with home.claim("web") as folder:
        (path / "web" / name).symlink_to("target")
        with pytest.raises(LauncherError, match=rf"^{path}/web/{name} is a symlink: remove it$"):
            folder.write_app_json({})
        (path / "web" / name).unlink()
        os.mkfifo(path / "web" / name)
        with pytest.raises(LauncherError, match=rf"^{path}/web/{name} is no file: remove it$"):
            folder.write_app_json({})
        assert not (path / "web/target").exists()


def test_what_cannot_be_opened_for_want_of_descriptors_is_not_taken_for_absent(
    home: Home,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with home.claim("web"):
        free = os.dup(home.dirfd)
        os.close(free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))  # for the folder only
            with pytest.raises(OSError, match="Too many open files"):
                home.entry("web")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_reading_does_not_wait_for_a_fifo(home: Home, path: Path) -> None:
    with home.claim("web"):
        os.mkfifo(path / "web/app.json")
        entry = home.entry("web")
    assert entry
    assert entry.settings is None


# The control socket


@pytest.mark.parametrize("depth", [0, 3])
def test_the_control_socket_answers_however_long_its_path(tmp_path: Path, depth: int) -> None:
    path = tmp_path.joinpath(*["x" * 60] * depth, "home")
    umask = os.umask(0)
    try:
        with open_home(path) as home, home.claim("web") as folder:
            with folder.bind_control_socket() as listener, home.connect("web", 5) as client:
                server, _ = listener.accept()
                with server:
                    client.sendall(b"hello")
                    assert server.recv(10) == b"hello"
                assert mode(path / "web/control.sock") == 0o600
                assert os.umask(0) == 0
            with pytest.raises(ConnectionRefusedError):
                home.connect("web", 5)
        with pytest.raises(FileNotFoundError), open_home(path) as home:
            home.connect("web", 5)
    finally:
        os.umask(umask)


def test_a_full_backlog_ends_at_the_deadline(home: Home, path: Path) -> None:
    with home.claim("web") as folder, folder.bind_control_socket() as listener:
        listener.listen(0)
        with home.connect("web", 5), pytest.raises(TimeoutError):
            home.connect("web", 0.01)


def test_connecting_does_not_follow_a_symlink(home: Home, path: Path, tmp_path: Path) -> None:
    with home.claim("web"), socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()
        (path / "web/control.sock").symlink_to(tmp_path / "other.sock")
        with pytest.raises(ConnectionRefusedError):
            home.connect("web", 1)


# Processes


def test_a_process_is_known_by_its_start_time() -> None:
    me = ProcessId.of(os.getpid())
    assert me
    assert me.alive()
    assert not me._replace(starttime=me.starttime + 1).alive()
    assert ProcessId.parse(f"{me}\nrest of an older text") == me
    assert ProcessId.of(2**22 + 1) is None


def test_the_name_of_a_process_may_look_like_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            assert ProcessId.of(process.pid)
        finally:
            process.kill()


# The folder of the cluster that this process is


def test_a_cluster_is_complete_while_commands_can_find_it(home: Home, path: Path) -> None:
    with home.claim("web") as folder, folder.bind_control_socket():
        assert not folder.complete(), "nothing is kept of it yet"
        folder.write_app_json({"app": "x:y"})
        assert folder.complete()
        (path / "web/control.sock").unlink()
        assert not folder.complete()
    assert not folder.complete(), "it was given up"


def test_a_folder_that_was_removed_is_made_anew(home: Home, path: Path) -> None:
    with home.claim("web") as folder:
        folder.bind_control_socket().close()
        shutil.rmtree(path)
        assert not folder.complete()
        folder.restore()
        folder.bind_control_socket().close()
        folder.write_app_json({"app": "x:y"})
        assert folder.complete()
        with open_home(path) as again:
            entry = again.entry("web")
        assert entry
        assert entry.running
        folder.restore()
        assert not (path / "web/control.sock").exists(), "to be bound again, in the same folder"


def test_what_another_has_made_anew_is_left_to_it(home: Home, path: Path) -> None:
    with home.claim("web") as folder:
        shutil.rmtree(path)
        before = folder.dirfd
        with (
            other_process(path, "web"),
            pytest.raises(LauncherError, match="'web' is already running"),
        ):
            folder.restore()
        assert folder.dirfd == before


def test_a_socket_that_cannot_be_bound_is_told_in_one_line(home: Home) -> None:
    with home.claim("web") as folder, folder.bind_control_socket():
        with pytest.raises(LauncherError, match=r"control\.sock: Address already in use: set"):
            folder.bind_control_socket()
        umask = os.umask(0)
        os.umask(umask)
        assert umask != 0o177


def test_a_lock_that_cannot_be_opened_is_told_in_one_line(home: Home, path: Path) -> None:
    (path / "web/lock").mkdir(parents=True)
    with pytest.raises(LauncherError, match="Is a directory: set LAUNCHER_HOME to a folder"):
        home.claim("web")


def test_a_folder_that_is_forgotten_while_it_is_claimed_is_claimed_again(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process A opens the folder; B, which held it, removes it; A finds out and begins again."""
    taken = ClusterFolder.take

    def too_late(folder: ClusterFolder) -> bool:
        monkeypatch.setattr(ClusterFolder, "take", taken)
        (path / "web").rmdir()
        return taken(folder)

    monkeypatch.setattr(ClusterFolder, "take", too_late)
    home.claim("web").release(forget=True)


def test_one_that_is_removed_between_two_steps(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the lock was taken: it is that of a folder which nothing finds any more."""
    taken = ClusterFolder._lock

    def too_late(folder: ClusterFolder) -> None:
        monkeypatch.setattr(ClusterFolder, "_lock", taken)
        taken(folder)
        shutil.rmtree(path / "web")

    monkeypatch.setattr(ClusterFolder, "_lock", too_late)
    home.claim("web").release(forget=True)


def test_one_that_is_removed_before_it_is_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_own

    def too_late(path: str, name: str, dirfd: int) -> int:
        monkeypatch.setattr(cluster_folder, "open_own", opened)
        os.rmdir(name, dir_fd=dirfd)
        return opened(path, name, dirfd)

    monkeypatch.setattr(cluster_folder, "open_own", too_late)
    home.claim("web").release(forget=True)


def test_one_that_is_removed_again_and_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterFolder, "take", lambda folder: False)
    with pytest.raises(LauncherError, match="removed again and again by another process"):
        home.claim("web")


def test_the_names_of_variables_are_kept_and_nothing_else(home: Home, path: Path) -> None:
    assert home.variables("web") == []
    with home.claim("web") as folder:
        folder.write_app_json({"app": "x:y"})
        folder.write_variables(["A", "B"])
    assert home.variables("web") == ["A", "B"]
    (path / "web/variables.json").write_text('{"variables": ["A", 1]}')
    assert home.variables("web") == ["A"]
    (path / "web/variables.json").write_text('{"variables": 1}')
    assert home.variables("web") == []


def test_a_cluster_that_is_forgotten_while_it_is_read(
    home: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.claim("web").release(forget=False)

    def forgotten(dirfd: int) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("launcher.state.home.holder", forgotten)
    assert home.entry("web") is None


def test_the_logs_of_a_cluster(home: Home, path: Path) -> None:
    with home.logs("web") as found:
        assert found is None
    home.claim("web").release(forget=False)
    (path / "web/logs").mkdir(0o700)
    (path / "web/logs/0.log").write_text("line")
    with home.logs("web") as found:
        assert found is not None
        assert os.listdir(found) == ["0.log"]


def test_what_is_there_whatever_it_is(home: Home, path: Path) -> None:
    (path / "link").symlink_to("nowhere")
    assert home.has("link")
    assert not home.has("nowhere")


def test_a_cluster_that_does_not_run_is_forgotten(home: Home, path: Path) -> None:
    home.claim("web").release(forget=False)
    home.forget("web")
    assert not (path / "web").exists()


# Other places


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a foreground cluster goes that finds no home it can write."""
    monkeypatch.setattr(places, "SHARED_MEMORY", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    return tmp_path / f"launcher-{os.geteuid()}"


def test_readers_look_in_another_place_when_the_home_is_not_safe(
    tmp_path: Path, spare: Path
) -> None:
    (tmp_path / "me").mkdir()
    (tmp_path / "me/.launcher").symlink_to("/")
    with pytest.raises(LauncherError, match="is a symlink"):
        Home.open_existing({})
    Home.at(str(spare)).close()
    with Home.open_existing({}) or pytest.fail("none") as home:
        assert home.path == str(spare)


def test_readers_look_there_when_nothing_can_be_in_the_home(
    tmp_path: Path, spare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can write everywhere, so what access(2) says is another user's."""
    Home.open({}).close()
    Home.at(str(spare)).close()
    with Home.open_existing({}) or pytest.fail("none") as home:
        assert home.path == f"{tmp_path}/me/.launcher"
    monkeypatch.setattr(Home, "writable", lambda home: home.path == str(spare))
    with Home.open_existing({}) or pytest.fail("none") as home:
        assert home.path == str(spare)
    spare.chmod(0o777)
    with Home.open_existing({}) or pytest.fail("none") as home:
        assert home.path == f"{tmp_path}/me/.launcher", "the other one is not safe"


def test_what_is_planted_in_the_other_place_is_not_followed(spare: Path) -> None:
    spare.symlink_to("nowhere")
    assert Home.open_existing({}) is None
