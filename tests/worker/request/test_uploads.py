"""What a worker takes of bodies, and where it keeps them."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from launcher.worker.request import uploads
from launcher.worker.request.body_errors import NoRoom, TooLarge
from launcher.worker.request.uploads import Spool, Uploads, places

KB = 1024


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def many(said: list[str]) -> Uploads:
    return Uploads(limit=0, threads=64, warn=said.append)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As a disk that is full: what is written beyond fails (Python ignores SIGXFSZ)."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


@pytest.mark.parametrize(
    ("threads", "number"), [(1, 0), (2, 1), (3, 1), (4, 2), (64, 32), (1024, 512)]
)
def test_some_threads_are_left_for_others(threads: int, number: int) -> None:
    taken = Uploads(0, threads, print)
    assert places(threads) == number
    assert [taken.enter() for _ in range(number)] == [True] * number
    assert not taken.enter()
    assert len(taken) == number
    if number:
        taken.leave()
        assert taken.enter()
        assert not taken.enter()


def test_the_limit_is_the_last_size_that_may_come_in(many: Uploads) -> None:
    limited = Uploads(100, 4, print)
    limited.check(100)
    with pytest.raises(TooLarge, match="larger than 100 bytes"):
        limited.check(101)
    many.check(10**12)


@pytest.mark.parametrize("size", [0, 1, 256 * KB, 256 * KB + 1, 3000 * KB])
def test_what_is_kept_comes_out_again(many: Uploads, size: int) -> None:
    spool, data = Spool(many), os.urandom(size)
    for start in range(0, size, 70_000):
        spool.write(data[start : start + 70_000])
    assert spool.size == spool.unread() == size
    half = spool.read(size // 2)
    assert spool.unread() == size - size // 2
    assert half + b"".join(iter(lambda: spool.read(64 * KB), b"")) == data
    assert spool.read(10) == b""
    spool.close()
    spool.close()


def test_little_needs_no_file(many: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file"))
    spool = Spool(many)
    spool.write(b"x" * 256 * KB)
    spool.close()


def test_all_spools_together_are_bounded(
    many: Uploads, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_KEPT", 100)
    bounded = Uploads(0, 4, said.append)
    one, two = Spool(bounded), Spool(bounded)
    one.write(b"x" * 60)
    two.write(b"x" * 40)
    for _ in range(3):
        with pytest.raises(NoRoom):
            two.write(b"x")
    assert said == ["cannot keep the body of a request: this worker keeps 100 bytes already"]
    one.close()
    two.write(b"x" * 60)
    assert two.read(1000) == b"x" * 100
    two.close()


def test_one_body_of_the_largest_size_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_KEPT", 100)
    spool = Spool(Uploads(500, 4, print))
    spool.write(b"x" * 500)
    with pytest.raises(NoRoom):
        spool.write(b"x")
    spool.close()


@pytest.mark.parametrize("room", [0, 200 * KB, 300 * KB, 400 * KB])
def test_a_full_disk_takes_all_of_a_piece_or_nothing(
    many: Uploads, said: list[str], room: int
) -> None:
    spool, pieces = Spool(many), [os.urandom(100 * KB) for _ in range(6)]
    with files_no_larger_than(room):
        written = 0
        for piece in pieces:
            try:
                spool.write(piece)
            except NoRoom:
                continue
            written += 1
    assert written == max(2, room // (100 * KB))
    assert spool.read(10**6) == b"".join(pieces[:written])
    assert len(said) == 1
    assert "File too large" in said[0]
    spool.close()
    assert many._kept == 0, "what could not be kept is not counted"


def test_where_no_file_can_be_made(many: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    spool = Spool(many)
    spool.write(b"x" * 256 * KB)
    with pytest.raises(NoRoom, match="No usable temporary directory"):
        spool.write(b"x")
    assert spool.read(10**6) == b"x" * 256 * KB
    spool.close()


def test_nothing_stays_open(many: Uploads) -> None:
    before = len(os.listdir("/proc/self/fd"))
    spool = Spool(many)
    spool.write(b"x" * 300 * KB)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before
