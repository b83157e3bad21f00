"""Real clusters whose logs are in files: what arrives, what a reload, a crash, a full disk do."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from launcher.cli import main
from launcher.errors import LauncherError
from launcher.logs.files import Limits, LogFile
from launcher.logs.folder import make_folder, open_folder
from tests.logs.conftest import HERE
from tests.support import Cluster, StartCluster, alive, eventually


def folder_of(cluster: Cluster) -> Path:
    return cluster.home / "chatty" / "logs"


def text_of(cluster: Cluster, name: str = "0.log") -> str:
    return (folder_of(cluster) / name).read_text()


def ask(cluster: Cluster, path: str) -> int:
    return requests.get(f"{cluster.url}{path}", timeout=30).status_code


def test_everything_arrives(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1")
    assert ask(cluster, "/ways") == 200
    eventually(lambda: "without an end" in text_of(cluster))
    lines = [line for line in text_of(cluster).splitlines() if line.startswith("way: ")]
    assert lines == [
        "way: print",
        "way: print to stderr",
        "way: in two parts",
        "way: write",
        "way: write again",
        "way: bytes",
        "way: logging",
        "way: the app's logger",
        "way: wsgi.errors",
        "way: descriptor 1",
        "way: descriptor 2",
        "way: C",
        "way: child",
        "way: child, stderr",
        "way: without an end",
    ]
    assert "UserWarning: way: a warning\n" in text_of(cluster)
    assert text_of(cluster, "pool.log").startswith("loaded: print\n")
    assert "'chatty' is ready at http://" in text_of(cluster, "primary.log")
    assert cluster.log == ""
    assert stat.S_IMODE(folder_of(cluster).stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder_of(cluster).iterdir()} == {0o600}


def test_what_is_printed_at_the_end_arrives(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1")
    ask(cluster, "/say/hello")
    folder = os.open(folder_of(cluster), os.O_RDONLY)  # with the cluster its folder goes
    primary = os.open("primary.log", os.O_RDONLY, dir_fd=folder)
    assert cluster.stop() == 0
    assert "stopping; running requests have" in os.pread(primary, 10_000, 0).decode()
    os.close(primary)
    os.close(folder)


def test_the_last_words_of_a_worker(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1")
    assert ask(cluster, "/segfault") == 502
    eventually(lambda: cluster.workers()[0]["id"] > 1)
    ask(cluster, "/say/the next worker")
    text = text_of(cluster)
    assert "the last line before\nand a part Fatal Python error: Segmentation fault\n" in text
    assert " in segfault\n" in text
    assert text.endswith("\nthe next worker\n")
    assert "was killed by SIGSEGV" in text_of(cluster, "primary.log")


def test_each_slot_has_its_file_for_good(start_background: StartCluster) -> None:
    cluster = start_background("-w", "2")
    os.kill(cluster.workers()[1]["pid"], signal.SIGKILL)
    eventually(lambda: [worker["id"] for worker in cluster.workers()] == [1, 3])
    for number in range(20):
        ask(cluster, f"/say/{number}")
    said = [text_of(cluster, name).split() for name in ("0.log", "1.log")]
    assert sorted(map(int, said[0] + said[1])) == list(range(20))
    assert all(said)


def test_a_flood_past_python_is_rotated_too(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1", "--log-max-size", "100K", "--log-keep", "2")
    ask(cluster, "/flood/500000")
    rotated = folder_of(cluster) / "0.log.1"
    eventually(lambda: rotated.stat().st_size == 500_000)
    ask(cluster, "/say/after it")
    assert text_of(cluster) == "after it\n"


def test_a_child_that_outlives_rotations(start_background: StartCluster) -> None:
    cluster = start_background(
        *("-w", "1", "--threads", "1", "--log-max-size", "64K", "--log-keep", "2")
    )
    ask(cluster, "/linger")
    for number in range(6):
        ask(cluster, f"/tell/{number}")
        eventually(
            lambda number=number: any(  # type: ignore[misc]
                f"child: {number}\n" in path.read_text()
                for path in folder_of(cluster).glob("0.log*")
            )
        )
        ask(cluster, "/storm/w/1/20/4096")


def test_a_full_disk_does_not_stop_the_serving(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1", "--access-log", MOST_BYTES="70000")
    ask(cluster, "/storm/w/2/50/1024")
    assert [ask(cluster, "/") for _ in range(20)] == [200] * 20
    assert (folder_of(cluster) / "0.log").stat().st_size == 70_000
    assert cluster.command("flush", "chatty").returncode == 0
    assert ask(cluster, "/") == 200
    told = "[log] lines that could not be written: "
    eventually(lambda: text_of(cluster).startswith(told))


def test_a_log_folder_that_was_removed_does_not_either(start_background: StartCluster) -> None:
    cluster = start_background("-w", "1", "--access-log")
    for path in folder_of(cluster).iterdir():
        path.unlink()
    folder_of(cluster).rmdir()
    assert ask(cluster, "/ways") == 200
    assert cluster.command("reload", "chatty").returncode == 0
    assert ask(cluster, "/ways") == 200
    assert "way: print\n" in text_of(cluster)
    assert "reload done" in text_of(cluster, "primary.log")


def test_an_app_that_cannot_be_loaded_is_told_to_whoever_starts_it(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("print('on the way')\nraise OSError('no \\x1b[31m luck')\n")
    command = (sys.executable, str(HERE / "background.py"))
    cluster = start_cluster("broken:app", prefix=command, folder=tmp_path)
    assert cluster.process.wait(30) == 1
    assert cluster.log.splitlines()[-2:] == [
        r"OSError: no \x1b[31m luck",
        r"launcher: cannot load 'broken:app': OSError: no \x1b[31m luck",
    ]
    assert [*cluster.home.iterdir()] == []


@pytest.mark.parametrize("name", ["primary.log", "pool.log", "0.log.3", ".0.times", ".1.next"])
def test_with_a_planted_link_there_is_no_start(
    start_cluster: StartCluster, home: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    logs = home / "chatty" / "logs"
    for folder in (home, home / "chatty", logs):
        folder.mkdir(mode=0o700)
    (logs / name).symlink_to(target)
    command = (sys.executable, str(HERE / "background.py"))
    cluster = start_cluster("chatty:app", prefix=command, folder=HERE / "apps")
    assert cluster.process.wait(30) == 1
    assert cluster.log == f"launcher: {logs / name}: is a symlink, or no file: remove it\n"
    assert target.read_text() == "precious"


def test_a_folder_that_others_could_change_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "logs"
    fd = os.open(tmp_path, os.O_RDONLY)
    assert open_folder(fd, str(tmp_path)) is None
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    for act in (open_folder, make_folder):
        with pytest.raises(LauncherError, match="logs: is a symlink, or no folder: remove it"):
            act(fd, str(tmp_path))
    place.unlink()
    place.mkdir()
    place.chmod(0o777)
    for act in (open_folder, make_folder):
        with pytest.raises(LauncherError, match="logs: can be written by others: remove it"):
            act(fd, str(tmp_path))
    os.close(fd)


# reopen


def test_reopen(start_background: StartCluster) -> None:
    cluster = start_background("-w", "2")
    names = ["0.log", "1.log", "pool.log", "primary.log"]
    for name in names:
        os.rename(folder_of(cluster) / name, folder_of(cluster) / f"{name}-moved")
    done = cluster.command("reopen", "chatty")
    assert (done.returncode, done.stdout) == (0, "reopened the logs of chatty\n")
    processes = [cluster.pid, *(worker["pid"] for worker in cluster.workers())]
    outputs = {os.readlink(f"/proc/{pid}/fd/{fd}") for pid in processes for fd in (1, 2)}
    assert outputs == {str(folder_of(cluster) / name) for name in names if name != "pool.log"}
    # The other way to say it.
    for name in names:
        os.rename(folder_of(cluster) / name, folder_of(cluster) / f"{name}-moved-again")
    os.kill(cluster.pid, signal.SIGUSR1)
    for name in names:
        eventually((folder_of(cluster) / name).exists)
    assert alive(cluster.pid)


def test_reopen_of_a_cluster_in_the_foreground(start_cluster: StartCluster) -> None:
    """gunicorn's configuration may have it log to files of its own."""
    cluster = start_cluster("plain:application", "-w", "1").ready()
    assert cluster.command("reopen").returncode == 0


def test_reopen_says_so_when_a_process_does_not(
    start_background: StartCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = start_background("-w", "1")
    worker = cluster.workers()[0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    os.rename(folder_of(cluster) / "0.log", folder_of(cluster) / "moved")
    monkeypatch.setenv("LAUNCHER_HOME", str(cluster.home))
    monkeypatch.setattr("launcher.cli.commands.logs.REOPENED_WITHIN", 0.5)
    status = main(["reopen", "chatty"])
    os.kill(worker, signal.SIGCONT)
    assert status == 1
    assert f"not reopened within 0.5 s by pid {worker}" in capsys.readouterr().err


# The way of gunicorn's settings


def test_gunicorns_capture_output_leaves_ours_alone(
    start_background: StartCluster, tmp_path: Path
) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text(f"capture_output = True\nerrorlog = {str(tmp_path / 'error.log')!r}\n")
    cluster = start_background("-w", "1", "--gunicorn-config", str(conf))
    assert ask(cluster, "/fail") == 500
    ask(cluster, "/say/hello")
    assert text_of(cluster).endswith("hello\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_worker_that_becomes_another_user_still_rotates(
    start_background: StartCluster, tmp_path: Path
) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("user = group = 65534\n")
    cluster = start_background(
        *("-w", "1", "--gunicorn-config", str(conf), "--log-max-size", "64K", "--log-keep", "2")
    )
    assert ask(cluster, "/storm/w/1/100/4096") == 200
    names = sorted(path.name for path in folder_of(cluster).glob("0.log*"))
    assert names == ["0.log", "0.log.1", "0.log.2"]
    assert cluster.command("logs", "chatty", "-n", "1").stdout.startswith("0|chatty | w.0 99 xxx")


def test_the_file_of_a_stopped_writer_can_still_be_read(tmp_path: Path) -> None:
    """Nothing of the format needs whoever wrote it."""
    fd = os.open(tmp_path, os.O_RDONLY)
    log = LogFile(fd, "0", Limits(0, 0))
    log.append(b"one\n")
    log.close()
    os.close(fd)
    assert subprocess.check_output(["tail", "-n", "1", str(tmp_path / "0.log")]) == b"one\n"
