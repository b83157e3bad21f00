"""A log file: what is in it after which writes, and what happens when it is full or gone."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.logs.rotation import empty
from launcher.logs.times import MARK_SIZE
from tests.logs.conftest import Folder
from tests.support import ROOT, eventually

LINE = b"x" * 99 + b"\n"


def test_lines_are_appended(folder: Folder) -> None:
    (folder.path / "0.log").write_text("from before\n")
    log = folder.log()
    log.append(b"one\n")
    log.append(b"two\nthree\n")
    assert folder.read() == "from before\none\ntwo\nthree\n"


def test_files_are_for_this_user_only_whatever_the_umask(folder: Folder) -> None:
    umask = os.umask(0)
    try:
        log = folder.log(keep=2)
        for _ in range(30):
            log.append(LINE)
    finally:
        os.umask(umask)
    modes = {path.stat().st_mode & 0o777 for path in folder.path.iterdir()}
    assert folder.names() == ["0.log", "0.log.1", "0.log.2"]
    assert modes == {0o600}


def test_a_full_file_is_followed_by_a_new_one_and_so_many_are_kept(folder: Folder) -> None:
    log = folder.log(size=1000, keep=2)
    for number in range(100):
        log.append(b"%03d" % number + LINE[3:])
    assert folder.names() == ["0.log", "0.log.1", "0.log.2"]
    lines = folder.everything().splitlines()
    assert [int(line[:3]) for line in lines] == list(range(100 - len(lines), 100))
    assert all((folder.path / name).stat().st_size <= 1000 for name in folder.names())
    assert folder.size() <= 3 * 1000


def test_none_kept(folder: Folder) -> None:
    log = folder.log(size=1000, keep=0)
    for _ in range(100):
        log.append(LINE)
    assert folder.names() == ["0.log"]
    assert 0 < folder.size() <= 1000


def test_none_kept_where_a_child_writes_too(folder: Folder) -> None:
    """It knows of no other file than the one it was started with."""
    log = folder.log(size=1000, keep=0)
    with (folder.path / "0.log").open("ab", buffering=0) as child:
        for number in range(100):
            log.append(LINE)
            child.write(b"child %d\n" % number)
            assert folder.read().endswith(f"child {number}\n")
            assert folder.size() <= 1000
    assert folder.names() == ["0.log"]


def test_no_limit(folder: Folder) -> None:
    log = folder.log(size=0)
    for _ in range(100):
        log.append(LINE)
    assert folder.names() == ["0.log"]
    assert folder.read() == LINE.decode() * 100


def test_fewer_are_kept_than_were(folder: Folder) -> None:
    for number in range(1, 8):
        (folder.path / f"0.log.{number}").write_text(f"old {number}\n")
    (folder.path / "0.log.gz").write_text("not ours")
    log = folder.log(size=1000, keep=2)
    for _ in range(10):
        log.append(LINE)
    assert folder.names() == ["0.log", "0.log.1", "0.log.2", "0.log.gz"]
    assert folder.read("0.log.2") == "old 1\n"
    log = folder.log(size=1000, keep=0)
    for _ in range(10):
        log.append(LINE)
    assert folder.names() == ["0.log", "0.log.gz"]


def test_a_rotation_that_was_cut_off_by_a_death_loses_nothing(folder: Folder) -> None:
    """It renames from the highest number down, so what it leaves is a gap."""
    for number in (1, 2, 4):
        (folder.path / f"0.log.{number}").write_text(f"old {number}\n")
    (folder.path / ".0.next").write_text("was to be the next")
    log = folder.log(size=1000, keep=4)
    for _ in range(10):
        log.append(LINE)
    kept = {number: folder.read(f"0.log.{number}") for number in (2, 3, 4)}
    assert kept == {2: "old 1\n", 3: "old 2\n", 4: "old 4\n"}
    assert folder.everything().count(LINE.decode()) == 10


def test_what_fits_no_file_is_cut_between_lines_if_it_has_any(folder: Folder) -> None:
    log = folder.log(size=1000, keep=50)
    log.append(LINE * 30)
    log.append(b"y" * 2500 + b"\n")
    assert folder.everything() == LINE.decode() * 30 + "y" * 2500 + "\n"
    assert all((folder.path / name).stat().st_size <= 1000 for name in folder.names())


# Lines in parts


def test_a_part_is_joined_with_the_rest(folder: Folder) -> None:
    log = folder.log()
    log.append(b"begin", author="me")
    log.append(b"ning\n", author="me", goes_on=True)
    assert folder.read() == "beginning\n"


def test_a_part_is_ended_by_whoever_comes_next(folder: Folder) -> None:
    mine, others = folder.log(), folder.log()
    mine.append(b"begin", author="me")
    others.append(b"other\n")
    mine.append(b"rest\n", author="me", goes_on=True)
    mine.append(b"a", author="me")
    mine.append(b"b\n", author="another thread")
    assert folder.read() == "begin\nother\nrest\na\nb\n"


def test_a_line_that_was_ended_by_another_gets_no_empty_one_after_it(folder: Folder) -> None:
    log = folder.log()
    log.append(b"text", author="me")
    log.append(b"other\n", author="another")
    log.append(b"\n", author="me", goes_on=True)
    log.append(b"\n", author="me")
    assert folder.read() == "text\nother\n\n"


def test_what_a_crash_left_is_ended_too(folder: Folder) -> None:
    (folder.path / "0.log").write_text("Fatal Python err")
    folder.log().append(b"one\n")
    assert folder.read() == "Fatal Python err\none\n"


def test_what_a_child_writes_to_a_file_of_long_ago_is_not_lost(folder: Folder) -> None:
    """It knows of no other file than the one it was started with."""
    log = folder.log(size=1000, keep=2)
    with (folder.path / "0.log").open("ab", buffering=0) as child:
        for number in range(100):
            log.append(LINE)
            child.write(b"child %d\n" % number)
            assert f"child {number}\n" in folder.everything()
    assert folder.names() == ["0.log", "0.log.1", "0.log.2"]
    assert folder.size() <= 3 * 1000 + 100 * len("child 99\n")
    for _ in range(30):
        log.append(LINE)
    assert "child" not in folder.everything()
    assert folder.size() <= 3 * 1000


# The file is changed from outside


def test_a_renamed_file_is_left_at_the_next_write(folder: Folder) -> None:
    log = folder.log()
    log.append(b"old\n")
    os.rename(folder.path / "0.log", folder.path / "moved")
    log.append(b"new\n")
    assert (folder.read("moved"), folder.read()) == ("old\n", "new\n")


def test_a_truncated_file_goes_on_at_its_beginning(folder: Folder) -> None:
    log = folder.log()
    log.append(b"old\n")
    os.truncate(folder.path / "0.log", 0)
    log.append(b"new\n")
    assert folder.read() == "new\n"


def test_a_folder_that_was_removed_stops_nobody(folder: Folder) -> None:
    log = folder.log()
    for entry in folder.path.iterdir():
        entry.unlink()
    folder.path.rmdir()
    log.append(b"nobody will read this\n")
    log.look_after()
    folder.path.mkdir(mode=0o777)
    folder.path.chmod(0o777)
    log.look_after()
    log.append(b"nor this\n")
    assert folder.names() == []


def test_a_folder_that_is_made_anew_is_taken_up(folder: Folder) -> None:
    log = folder.log(size=1000, keep=2)
    shutil.rmtree(folder.path)
    log.append(b"nobody will read this\n")
    folder.path.mkdir(mode=0o700)
    log.look_after()
    for _ in range(10):
        log.append(LINE)
    assert folder.names() == ["0.log", "0.log.1"]
    assert folder.everything() == LINE.decode() * 10
    assert (folder.path / ".0.times").exists()


def test_a_planted_link_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    for name in ("0.log", ".0.times", ".0.next"):
        (folder.path / name).symlink_to(target)
    log = folder.log()
    for _ in range(30):
        log.append(LINE)
    (folder.path / "0.log").unlink()
    for _ in range(30):
        log.append(LINE)
    assert target.read_text() == "precious"


def test_a_pipe_in_its_place_is_not_written_to(folder: Folder) -> None:
    os.mkfifo(folder.path / "0.log")
    folder.log().append(b"one\n")
    (folder.path / "0.log").unlink()


def test_empty(folder: Folder) -> None:
    log = folder.log()
    other = folder.log("pool")
    for _ in range(30):
        log.append(LINE)
        other.append(LINE)
    (folder.path / "notes.txt").write_text("not ours")
    empty(folder.fd)
    assert folder.names() == ["0.log", "notes.txt", "pool.log"]
    assert folder.everything() == folder.everything("pool") == ""
    assert folder.size() == len("not ours") + 2 * MARK_SIZE
    log.append(b"new\n")
    assert folder.read() == "new\n"


# What goes wrong


def test_a_full_disk_costs_lines_and_says_so(folder: Folder) -> None:
    log = folder.log(size=100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1050, hard))
    try:
        for _ in range(20):
            log.append(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    log.append(b"there is room again\n")
    lines = folder.read().splitlines()
    assert lines[:10] == [LINE.decode().strip()] * 10
    assert lines[10:] == [
        "x" * 50,
        "[log] lines that could not be written: 10 (File too large)",
        "there is room again",
    ]


def test_no_descriptors_left(folder: Folder) -> None:
    log = folder.log(size=1000, keep=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        for _ in range(20):
            log.append(LINE)  # there is no new file to be had
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert folder.read() == LINE.decode() * 20
    log.append(b"one\n")
    assert folder.names() == ["0.log", "0.log.1"]
    assert folder.read() == "one\n"


def test_nobody_waits_for_long_for_a_writer_that_is_frozen(folder: Folder) -> None:
    code = (
        "import os, signal, sys; from launcher.logs.times import Times;"
        "times = Times(os.open(sys.argv[1], os.O_RDONLY), '0', 1); times.begin_turn();"
        "os.kill(os.getpid(), signal.SIGSTOP)"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    frozen = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)})
    try:
        eventually(lambda: Path(f"/proc/{frozen.pid}/stat").read_text().split()[2] == "T")
        log = folder.log(size=1000, keep=50, patience=0.1)
        for _ in range(30):
            log.append(LINE)
        assert folder.everything() == LINE.decode() * 30
    finally:
        frozen.kill()
        frozen.wait()
    log.append(b"one\n")
    assert folder.everything() == LINE.decode() * 30 + "one\n"


def test_a_write_in_the_middle_of_a_write(folder: Folder) -> None:
    """As from a signal handler: it arrives, and blocks nothing."""
    log = folder.log()

    class Bytes(bytes):
        def endswith(self, *args: object) -> bool:
            log.append(b"inner\n")
            return super().endswith(b"\n")

    log.append(Bytes(b"outer\n"))
    log.append(b"later\n")
    assert sorted(set(folder.read().split())) == ["inner", "later", "outer"]


@pytest.mark.parametrize("stand_in_is", ["ours", "another's"])
def test_descriptors_that_stand_in_follow_unless_they_are_somebody_elses_by_now(
    folder: Folder, tmp_path: Path, stand_in_is: str
) -> None:
    standing_in = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    log = folder.log(size=1000, keep=2, stand_ins=(standing_in,))
    other = os.open(tmp_path / "y", os.O_WRONLY | os.O_CREAT)
    if stand_in_is != "ours":
        os.dup2(other, standing_in)
    for _ in range(10):
        log.append(LINE)
    os.write(standing_in, b"here\n")
    where = folder.path / "0.log" if stand_in_is == "ours" else tmp_path / "y"
    assert "here\n" in where.read_text()
    os.close(standing_in)
    os.close(other)


def test_a_log_file_becomes_that_of_a_slot(folder: Folder) -> None:
    log = folder.log("pool")
    log.append(b"pool\n")
    log.become("3")
    log.append(b"slot 3\n")
    assert (folder.read("pool.log"), folder.read("3.log")) == ("pool\n", "slot 3\n")


def test_growth_past_us_is_looked_after(folder: Folder) -> None:
    log = folder.log(size=1000, keep=2)
    with (folder.path / "0.log").open("ab") as raw:
        raw.write(LINE * 20)
    log.look_after()
    assert (folder.path / "0.log.1").stat().st_size == 2000
    assert folder.read() == ""
