"""The logs as one: the last lines and the new ones, by time, across rotations."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from struct import iter_unpack

import pytest

from launcher.logs.folder import file_name, segments
from launcher.logs.reading import LONGEST_LINE, Line, LogReader
from launcher.logs.rotation import empty
from tests.logs.conftest import Folder


@pytest.fixture
def reader() -> Iterator[LogReader]:
    reader = LogReader()
    yield reader
    reader.close()


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def by_time(lines: list[Line]) -> list[str]:
    return texts(sorted(lines, key=lambda line: line.when))


def set_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr("launcher.logs.files.time.time", lambda: now)


# The last lines


def test_no_logs(folder: Folder, reader: LogReader) -> None:
    assert reader.last(folder.fd, 15) == []
    assert reader.more(folder.fd) == []


@pytest.mark.parametrize("count", [0, 1, 7, 40, 1000])
def test_the_last_lines_go_back_over_files(folder: Folder, reader: LogReader, count: int) -> None:
    log = folder.log(size=1000, keep=20)
    for number in range(100):
        log.append(b"%02d" % number + b"x" * 50 + b"\n")
    numbers = [int(text[:2]) for text in texts(reader.last(folder.fd, count))]
    assert numbers == list(range(100))[max(0, 100 - count) :]
    assert reader.more(folder.fd) == []


def test_lines_longer_than_what_is_read_at_once(folder: Folder, reader: LogReader) -> None:
    log = folder.log(size=0)
    lines = [str(number) * size for number, size in enumerate([10, 70_000, 65_536, 200_000, 5])]
    log.append("".join(f"{line}\n" for line in lines).encode())
    for count in range(6):
        assert texts(LogReader().last(folder.fd, count)) == lines[5 - count :]
    assert texts(reader.last(folder.fd, 5)) == lines


def test_sources_are_merged_by_time(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(3)
    logs = {name: folder.log(name, size=500, keep=50) for name in ("0", "1", "pool", "primary")}
    expected = []
    for number in range(200):
        name = random.choice([*logs])
        set_clock(monkeypatch, 1000 + number / 100)
        logs[name].append(f"{number} {name}\n".encode())
        expected.append(Line(1000 + number / 100, name, f"{number} {name}"))
    assert reader.last(folder.fd, 150) == expected[-150:]


def test_lines_of_one_write_stay_together(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = folder.log("0", size=0), folder.log("1", size=0)
    for now in range(3):
        set_clock(monkeypatch, float(now + 1))
        one.append(f"a{now}\nb{now}\nc{now}\n".encode())
        other.append(f"x{now}\ny{now}\n".encode())
    assert texts(reader.last(folder.fd, 15)) == (
        ["a0", "b0", "c0", "x0", "y0", "a1", "b1", "c1", "x1", "y1", "a2", "b2", "c2", "x2", "y2"]
    )


def test_what_was_written_past_us_has_the_time_of_the_file(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last words of a crash."""
    log = folder.log()
    set_clock(monkeypatch, 1000.0)
    log.append(b"long ago\n")
    with (folder.path / "0.log").open("ab") as raw:
        raw.write(b"Fatal Python error\n")
    os.utime(folder.path / "0.log", (2000, 2000))
    assert reader.last(folder.fd, 2) == [
        Line(1000.0, "0", "long ago"),
        Line(2000.0, "0", "Fatal Python error"),
    ]
    set_clock(monkeypatch, 3000.0)
    folder.log().append(b"the next worker\n")  # its beginning makes that last
    assert [line.when for line in LogReader().last(folder.fd, 3)] == [1000, 2000, 3000]


def test_time_does_not_run_backwards_in_a_source(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder.log()
    for number, now in enumerate([10.0, 5.0, 20.0]):
        set_clock(monkeypatch, now)
        log.append(b"%d\n" % number)
    assert [(line.when, line.text) for line in reader.last(folder.fd, 3)] == [
        (10.0, "0"),
        (10.0, "1"),
        (20.0, "2"),
    ]


def test_without_the_file_of_times_there_is_that_of_the_file(
    folder: Folder, reader: LogReader
) -> None:
    (folder.path / "0.log").write_text("one\n")
    os.utime(folder.path / "0.log", (500, 500))
    assert reader.last(folder.fd, 5) == [Line(500.0, "0", "one")]


def test_a_file_of_times_that_a_death_has_cut(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for cut in range(1, 33):
        with (
            subtests.test(f"{cut} bytes"),
            closing(Folder(tmp_path / f"{cut}")) as folder,
            closing(LogReader()) as reader,
        ):
            log = folder.log()
            log.append(b"one\n")
            times = folder.path / ".0.times"
            os.truncate(times, max(0, times.stat().st_size - cut))
            log.append(b"two\n")
            folder.log().append(b"three\n")
            assert times.stat().st_size % 32 == 0
            assert texts(reader.last(folder.fd, 3)) == ["one", "two", "three"]


def test_marks_do_not_pile_up(folder: Folder) -> None:
    log = folder.log(size=5000, keep=1)
    for _ in range(3000):
        log.append(b"short\n")
        log.look_after()
    assert folder.size() <= 2 * 5000
    times = (folder.path / ".0.times").read_bytes()
    inodes = {path.stat().st_ino for path in folder.path.glob("0.log*")}
    marked = {int.from_bytes(mark[:8], "little") for (mark,) in iter_unpack("32s", times)}
    assert marked <= inodes


def test_odd_bytes_and_ends(folder: Folder, reader: LogReader) -> None:
    folder.log().append(b"\xff gr\xc3\xbcn\r\nform\x0cfeed\x85\xe2\x80\xa8same line\nno end")
    assert texts(reader.last(folder.fd, 5)) == [
        "\\xff grün",
        "form\x0cfeed\\x85\u2028same line",
        "no end",
    ]


# New lines


def test_new_lines_follow_the_last(folder: Folder, reader: LogReader) -> None:
    log = folder.log(size=1000, keep=20)
    log.append(b"old\n")
    assert texts(reader.last(folder.fd, 1, unfinished=False)) == ["old"]
    for number in range(50):
        log.append(b"%02d" % number + b"x" * 97 + b"\n")
    assert [text[:2] for text in texts(reader.more(folder.fd))] == [f"{n:02}" for n in range(50)]
    assert reader.more(folder.fd) == []


def test_also_those_in_a_file_that_is_gone(folder: Folder, reader: LogReader) -> None:
    log = folder.log(size=1000, keep=1)
    reader.last(folder.fd, 0)
    for number in range(9):
        log.append(b"%02d" % number + b"x" * 97 + b"\n")
    assert len(reader.more(folder.fd)) == 9
    log.append(b"last of its file\n")
    for _ in range(18):
        log.append(b"x" * 99 + b"\n")
    assert texts(reader.more(folder.fd))[0] == "last of its file"


def test_also_what_comes_late_to_a_full_file(folder: Folder, reader: LogReader) -> None:
    log = folder.log(size=1000, keep=3)
    child = os.open(folder.path / "0.log", os.O_WRONLY | os.O_APPEND)
    for _ in range(15):
        log.append(b"x" * 99 + b"\n")
    reader.last(folder.fd, 3)
    os.write(child, b"from a child of long ago\n")
    os.close(child)
    assert texts(reader.more(folder.fd)) == ["from a child of long ago"]


def test_an_unfinished_line_is_waited_for(folder: Folder, reader: LogReader) -> None:
    log = folder.log()
    log.append(b"begin", author="me")
    assert texts(LogReader().last(folder.fd, 5)) == ["begin"]
    assert reader.last(folder.fd, 5, unfinished=False) == []
    assert reader.more(folder.fd) == []
    log.append(b"ning\nnext", author="me", goes_on=True)
    assert texts(reader.more(folder.fd)) == ["beginning"]


def test_but_not_forever(folder: Folder, reader: LogReader) -> None:
    folder.log().append(b"Continue? [y/n] ")
    looks = [texts(reader.more(folder.fd)) for _ in range(20)]
    assert [look for look in looks if look] == [["Continue? [y/n] "]]


def test_a_line_without_any_end_comes_in_pieces(folder: Folder, reader: LogReader) -> None:
    folder.log(size=0).append(b"x" * (LONGEST_LINE + 10) + b"\n")
    assert [len(text) for text in texts(reader.more(folder.fd))] == [LONGEST_LINE, 10]


def test_emptied_files_are_read_from_their_beginning(folder: Folder, reader: LogReader) -> None:
    log = folder.log()
    log.append(b"some old text\n")
    reader.last(folder.fd, 15)
    empty(folder.fd)
    log.append(b"new\n")
    assert texts(reader.more(folder.fd)) == ["new"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_also_when_there_is_as_much_in_them_again(
    folder: Folder, reader: LogReader, count: int
) -> None:
    log = folder.log()
    log.append(b"old 0\nold 1\n")
    reader.last(folder.fd, 15)
    for round_ in range(3):
        lines = [f"new {number}, round {round_}" for number in range(count)]
        empty(folder.fd)
        log.append("".join(f"{line}\n" for line in lines).encode())
        assert texts(reader.more(folder.fd)) == lines
        assert reader.more(folder.fd) == []


def test_also_when_it_is_exactly_as_much(folder: Folder, reader: LogReader) -> None:
    log = folder.log()
    log.append(b"old\n")
    os.utime(folder.path / "0.log", (1000, 1000))  # files' times are coarse
    reader.last(folder.fd, 15)
    empty(folder.fd)
    log.append(b"new\n")
    assert texts(reader.more(folder.fd)) == ["new"]


def test_a_line_has_its_own_time_not_that_of_the_emptying(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder.log()
    log.append(b"old\n")
    set_clock(monkeypatch, 1000.0)
    empty(folder.fd)
    set_clock(monkeypatch, 2000.0)
    log.append(b"new\n")
    assert reader.last(folder.fd, 15) == [Line(2000.0, "0", "new")]


def test_a_file_that_is_used_again_for_a_child_is_read_from_its_beginning(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, 1000.0)  # so that there is one mark, however slow the machine is
    log = folder.log(size=1000, keep=1)
    child = os.open(folder.path / "0.log", os.O_WRONLY | os.O_APPEND)
    log.append(b"short\n")
    reader.last(folder.fd, 0)
    for number in range(19):
        log.append(b"%02d" % number + b"x" * 97 + b"\n")
    os.close(child)
    numbers = [int(text[:2]) for text in texts(reader.more(folder.fd))]
    assert numbers == list(range(9, 19))


def test_where_none_is_kept_the_old_file_is_read_to_its_end(
    folder: Folder, reader: LogReader
) -> None:
    log = folder.log(size=1000, keep=0)
    seen = texts(reader.more(folder.fd))
    for number in range(100):
        log.append(b"%02d" % number + b"x" * 97 + b"\n")
        if number % 7 == 0:
            seen += texts(reader.more(folder.fd))
    seen += texts(reader.more(folder.fd))
    assert [int(text[:2]) for text in seen] == list(range(100))


def test_new_sources_are_read_from_their_beginning(folder: Folder, reader: LogReader) -> None:
    folder.log("0").append(b"one\n")
    reader.last(folder.fd, 0)
    folder.log("1").append(b"two\n")
    assert reader.more(folder.fd)[0].source == "1"


def test_a_file_that_logrotate_renamed_is_read_to_its_end(
    folder: Folder, reader: LogReader
) -> None:
    log = folder.log()
    log.append(b"one\n")
    reader.last(folder.fd, 1)
    log.append(b"two\n")
    os.rename(folder.path / "0.log", folder.path / "0.log-20261122")
    log.append(b"three\n")
    assert by_time(reader.more(folder.fd)) == ["two", "three"]


def test_a_rotation_that_begins_while_it_looks_repeats_nothing(
    folder: Folder, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder.log(size=1000, keep=5)
    for number in range(25):
        log.append(b"%02d" % number + b"x" * 98 + b"\n")
    assert folder.names() == ["0.log", "0.log.1", "0.log.2"]
    assert len(reader.more(folder.fd)) == 25

    def rename(*numbers: int) -> None:
        for number in numbers:
            (folder.path / file_name("0", number)).rename(folder.path / file_name("0", number + 1))

    def listed(fd: int) -> dict[str, list[int]]:
        """What is true no more when it is heard: another process has come half-way."""
        found = segments(fd)
        rename(2, 1)
        return found

    with monkeypatch.context() as patch:
        patch.setattr("launcher.logs.reading.segments", listed)
        assert reader.more(folder.fd) == []
    rename(0)
    log.append(b"25\n")
    assert texts(reader.more(folder.fd)) == ["25"]


def test_nothing_is_opened_but_what_is_a_log_file(folder: Folder, reader: LogReader) -> None:
    (folder.path / "0.log").symlink_to("/etc/passwd")
    os.mkfifo(folder.path / "1.log")
    (folder.path / "x.log").write_text("no")
    (folder.path / "0.log.0").write_text("no")
    (folder.path / "pool.log").write_text("yes\n")
    assert texts(reader.last(folder.fd, 15)) == ["yes"]
    assert reader.more(folder.fd) == []


def test_no_descriptor_is_left_open(folder: Folder) -> None:
    before = os.listdir("/proc/self/fd")
    reader = LogReader()
    log = folder.log(size=1000, keep=2)
    opened = len(os.listdir("/proc/self/fd")) - len(before)
    for _ in range(100):
        log.append(b"x" * 99 + b"\n")
        reader.more(folder.fd)
    assert len(os.listdir("/proc/self/fd")) - len(before) - opened <= 3 + 1
    reader.close()
    assert len(os.listdir("/proc/self/fd")) - len(before) == opened
