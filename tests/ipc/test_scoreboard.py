"""The shared memory: each thread writes its own note, the primary reads them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from launcher.ipc.notes import BOUNDS, BUCKETS, LINE, STANDARD_BOUNDS, Activity, Note, Notepad
from launcher.ipc.scoreboard import ROWS, Row, Scoreboard, create, memory_size
from tests.support import eventually

BEGUN: dict[str, Any] = {
    "serial": 7,
    "safe": True,
    "now": 111,
    "written": 22,
    "consumed": 33,
    "request_length": 44,
    "data": b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n",
}
AS_NOTED = Note(
    serial=7,
    safe=True,
    started=111,
    written=22,
    consumed=33,
    request_length=44,
    response_length=0,
    thread=0,
)


def begin(row: Row, thread: int = 0, **changes: Any) -> None:
    row.pad(thread).begin(**BEGUN | changes)


@pytest.fixture
def board() -> Scoreboard:
    fd = create(4)
    board = Scoreboard(fd, 4)
    os.close(fd)
    return board


def test_a_request_that_is_put_off_is_as_if_it_had_not_begun(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row)
    row.pad(0).put_off()
    assert (row.busy(), row.requests(), row.running(), row.active()) == (0, 0, [], [])


def test_a_note_names_its_thread(board: Scoreboard) -> None:
    row = board.row(0)
    row.pad(1).sign(4321)
    begin(row, 1, data=b"x" * 1000)
    assert [note.thread for note in row.running()] == [4321]


def test_all_busy_since_means_every_thread(board: Scoreboard) -> None:
    row = board.row(0)
    row.living = 4
    for thread in range(4):
        assert row.all_busy_since() == 0
        begin(row, thread, now=400 - 100 * thread)
    assert row.all_busy_since() == 400, "when the last one has begun"
    row.pad(2).end(took=5)
    assert row.all_busy_since() == 0


def test_a_fresh_row_is_empty(board: Scoreboard) -> None:
    row = board.row(0)
    assert (row.taken, row.heartbeat, row.connections) == (0, 0, 0)
    assert (row.busy(), row.requests(), row.running()) == (0, 0, [])


def test_a_note_is_there_between_begin_and_end(board: Scoreboard) -> None:
    row = board.row(0)
    pad = row.pad(0)
    begin(row)
    assert row.running() == [AS_NOTED]
    assert row.busy() == 1
    pad.end(1)
    assert row.running() == []
    assert row.busy() == 0
    assert row.requests() == 1


def test_an_unsafe_request_is_noted_as_such(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row, safe=False)
    (note,) = row.running()
    assert note.safe is False


def test_the_length_of_the_response_is_added_and_gone_with_the_next(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row)
    row.pad(0).answer(2**62 | 555)
    assert row.running()[0].response_length == 2**62 | 555
    row.pad(0).end(1)
    begin(row)
    assert row.running()[0].response_length == 0


def test_counts_are_of_64_bits(board: Scoreboard) -> None:
    row = board.row(0)
    most = 2**64 - 1
    begin(row, serial=most, now=most, written=most, consumed=most, request_length=most)
    (note,) = row.running()
    assert (note.serial, note.started, note.written, note.consumed) == (most,) * 4
    assert note.request_length == most


def test_how_a_running_request_begins_can_be_seen(board: Scoreboard) -> None:
    row = board.row(0)
    assert row.active() == []
    begin(row, data=b"GET /" + b"x" * 1000)
    (activity,) = row.active()
    assert activity.began == 111
    assert activity.line == (b"GET /" + b"x" * 1000)[:LINE]
    row.pad(0).end(took=1)
    assert row.active() == []


def test_the_line_of_a_longer_request_before_is_gone(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row, data=b"POST /something/long HTTP/1.1")
    row.pad(0).end(took=1)
    begin(row, data=b"GET /")
    assert row.active()[0].line == b"GET /"


@pytest.mark.parametrize("took", [0, *BOUNDS[:2], BOUNDS[-1] - 1, BOUNDS[-1], 2**63])
def test_a_finished_request_is_counted_where_its_time_belongs(board: Scoreboard, took: int) -> None:
    row = board.row(0)
    for thread in (0, 3):
        begin(row, thread)
        row.pad(thread).end(took)
    bucket = sum(bound < took for bound in BOUNDS)
    assert row.times() == [2 * (index == bucket) for index in range(BUCKETS)]
    assert row.requests() == 2


def test_a_part_that_is_out_begins_the_time_anew_but_not_the_request(board: Scoreboard) -> None:
    row = board.row(0)
    pad = row.pad(0)
    assert pad.started() == 0
    begin(row)
    assert pad.started() == 111
    pad.progressed(999)
    assert pad.started() == row.running()[0].started == 999
    assert row.active()[0].began == 111


def test_threads_do_not_touch_each_others_notes(board: Scoreboard) -> None:
    row = board.row(0)
    for thread in range(4):
        begin(row, thread, serial=thread)
    assert [note.serial for note in row.running()] == [0, 1, 2, 3]
    assert row.busy() == 4
    row.pad(1).end(1)
    assert [note.serial for note in row.running()] == [0, 2, 3]
    assert row.busy() == 3


@pytest.mark.parametrize("threads", [1, 4, 64, 65, 1024])
def test_the_requests_of_all_threads_are_added_up(threads: int) -> None:
    fd = create(threads)
    row = Scoreboard(fd, threads).row(ROWS - 1)
    os.close(fd)
    for thread in range(threads):
        begin(row, thread)
        assert row.busy() == thread + 1
    for thread in range(threads):
        row.pad(thread).end(1)
    assert row.requests() == threads
    assert row.busy() == 0


def test_what_runs_is_told_with_how_it_began(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row, 1)
    begin(row, 3, now=222)
    assert row.active() == [Activity(111, BEGUN["data"]), Activity(222, BEGUN["data"])]
    row.pad(1).progressed(999)
    assert row.active()[0].began == 111, "however often a part of the response goes out"
    row.pad(1).end(1)
    assert row.active() == [Activity(222, BEGUN["data"])]


def test_as_much_is_noted_as_there_is_room_for(board: Scoreboard) -> None:
    row = board.row(0)
    row.pad(0).begin(**BEGUN | {"data": b"x" * (LINE + 1)})
    row.pad(1).begin(**BEGUN | {"data": b"y"})
    assert [each.line for each in row.active()] == [b"x" * LINE, b"y"]


def test_another_request_as_we_read_is_no_activity(board: Scoreboard) -> None:
    class Racing:
        def __init__(self, raw: memoryview) -> None:
            self.raw = raw

        def __getitem__(self, part: slice) -> memoryview:
            row.pad(0).begin(**BEGUN | {"now": 112})
            return self.raw[part]

    row, reader = board.row(0), board.row(0)
    begin(row)
    reader._raw = Racing(reader._raw)  # type: ignore[assignment]
    assert reader.active() == []


def test_how_long_requests_took_is_counted_per_bucket(board: Scoreboard) -> None:
    row = board.row(0)
    for thread, took in enumerate([0, BOUNDS[0], BOUNDS[0] + 1, 10**18]):
        begin(row, thread)
        row.pad(thread).end(took)
    times = row.times()
    assert (len(times), times[0], times[1], times[-1]) == (BUCKETS, 2, 1, 1)
    assert sum(times) == row.requests() == 4
    assert row.took() == 2 * BOUNDS[0] + 1 + 10**18
    row.clear()
    assert row.times() == [0] * BUCKETS
    assert row.took() == 0


def test_the_standard_bounds_are_among_the_bounds() -> None:
    assert {*STANDARD_BOUNDS} < {*BOUNDS}
    assert sorted({*BOUNDS}) == BOUNDS


FIELDS: list[Callable[[Row], object]] = [
    lambda row: setattr(row, "taken", 2**64 - 1),
    lambda row: setattr(row, "heartbeat", 2**64 - 1),
    lambda row: setattr(row, "connections", 2**64 - 1),
    lambda row: begin(row, 0, serial=2**64 - 1),
    lambda row: begin(row, 3, serial=2**64 - 1),
    lambda row: row.pad(3).answer(2**64 - 1),
    lambda row: row.pad(0).end(1),
    lambda row: row.pad(3).end(10**18),
]


@pytest.mark.parametrize("index", [0, 1, ROWS - 1])
def test_a_row_is_its_workers_alone(
    board: Scoreboard, index: int, subtests: pytest.Subtests
) -> None:
    for number, write in enumerate(FIELDS):
        board.row(index).clear()
        write(board.row(index))
        for other in {0, 1, 2, ROWS - 2, ROWS - 1} - {index}:
            row = board.row(other)
            with subtests.test(f"field {number}, row {other}"):
                assert (row.taken, row.heartbeat, row.connections) == (0, 0, 0)
                assert (row.busy(), row.requests(), row.running()) == (0, 0, [])


def test_a_row_is_cleared_for_the_next_worker_and_no_other_is(board: Scoreboard) -> None:
    for index in (4, 5, 6):
        row = board.row(index)
        row.taken = row.heartbeat = row.connections = 9
        begin(row, 3)
        row.pad(2).end(1)
    board.row(5).clear()
    row = board.row(5)
    assert (row.taken, row.heartbeat, row.connections) == (0, 0, 0)
    assert (row.busy(), row.requests(), row.running()) == (0, 0, [])
    for index in (4, 6):
        row = board.row(index)
        assert (row.taken, row.heartbeat, row.connections) == (9, 9, 9)
        assert (row.busy(), row.requests(), len(row.running())) == (1, 1, 1)


def test_another_process_sees_the_same_memory(board: Scoreboard) -> None:
    pid = os.fork()
    if pid == 0:
        begin(board.row(3), 2)
        board.row(3).taken = 5
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert board.row(3).running() == [AS_NOTED]
    assert board.row(3).taken == 5


def test_two_maps_of_one_descriptor_are_one_scoreboard() -> None:
    fd = create(2)
    here, there = Scoreboard(fd, 2), Scoreboard(fd, 2)
    os.close(fd)
    begin(here.row(1), 1)
    assert there.row(1).running() == [AS_NOTED]


def test_untouched_rows_cost_no_memory() -> None:
    fd = create(1024)
    try:
        board = Scoreboard(fd, 1024)
        begin(board.row(0))
        assert memory_size(1024) > 50 << 20
        assert os.fstat(fd).st_blocks * 512 < 1 << 20
    finally:
        os.close(fd)


class Killed(BaseException):
    """Stands for the kill -9 that comes before one of the writes."""


class Words:
    """The memory of a process that is killed before its n-th write from now."""

    def __init__(self, words: memoryview, writes: int) -> None:
        self._words = words
        self.left = writes

    def __getitem__(self, index: int) -> int:
        found: int = self._words[index]
        return found

    def __setitem__(self, index: int, value: int) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        self._words[index] = value


def killed_before(write: int, row: Row, action: Callable[[Notepad], None]) -> bool:
    """Whether ``action`` on the row's first notepad was cut off before that write."""
    pad = row.pad(0)
    pad._words = Words(pad._words, write)  # type: ignore[assignment]
    try:
        action(pad)
    except Killed:
        return True
    return False


def test_a_kill_at_any_write_of_begin_leaves_the_whole_note_or_none(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row, serial=1, now=1, written=1, consumed=1, request_length=1)
    row.pad(0).end(1)
    writes = 0
    while killed_before(writes, row, lambda pad: pad.begin(**BEGUN)):
        assert row.running() == []
        writes += 1
    assert writes == 1, "the state: all else is written in one go before it"
    assert row.running() == [AS_NOTED]


def test_a_kill_at_any_write_of_end_leaves_the_whole_note_or_none(board: Scoreboard) -> None:
    row = board.row(0)
    begin(row)
    assert killed_before(0, row, lambda pad: pad.end(1))
    assert row.running() == [AS_NOTED]
    assert killed_before(1, row, lambda pad: pad.end(1))
    assert row.running() == []


def test_a_process_killed_while_it_begins_and_ends_leaves_readable_notes(
    board: Scoreboard,
) -> None:
    row = board.row(0)
    whole = {begun(number) for number in range(1000)}
    for _ in range(20):
        row.clear()
        pid = os.fork()
        if pid == 0:
            begin_and_end_for_ever(row)
        eventually(lambda: row.requests() > 200)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        notes = row.running()
        assert len(notes) <= row.busy() <= 1
        assert {*notes} <= whole


def begun(number: int) -> Note:
    """A note in which every figure tells the same number."""
    return Note(number, True, number, number, number, number, 0, 0)


def begin_and_end_for_ever(row: Row) -> None:
    pad = row.pad(0)
    while True:
        for number in range(1000):
            pad.begin(number, True, number, number, number, number, b"GET /")
            pad.end(1)


def test_room_is_looked_for_without_touching_rows_that_nobody_has() -> None:
    fd = create(64)
    board = Scoreboard(fd, 64)
    rows = [board.row(index) for index in range(3)]
    for row in rows:
        row.capacity = 2
        row.heartbeat = 1_000_000_000
    assert board.room(rows[0], now=2_000_000_000) == 4
    begin(rows[1])
    assert board.room(rows[0], now=2_000_000_000) == 3
    rows[2].heartbeat = 5_000_000_000
    assert board.room(rows[0], now=5_000_000_000) == 2, "the other gives no sign of life"
    assert os.fstat(fd).st_blocks * 512 < 100_000
    os.close(fd)


def test_room_is_told_for_requests_and_for_streams(board: Scoreboard) -> None:
    row = board.row(0)
    row.capacity, row.streaming, row.stream_capacity, row.waiting = 4, 1, 2, 3
    assert (row.capacity, row.streaming, row.stream_capacity, row.waiting) == (4, 1, 2, 3)


def test_a_thread_counts_as_busy_from_before_its_request(board: Scoreboard) -> None:
    row = board.row(0)
    row.pad(0).claim()
    assert (row.busy(), row.running()) == (1, [])
    row.pad(0).put_off()
    assert row.busy() == 0


def test_a_request_whose_response_is_out_is_unanswered_no_more(board: Scoreboard) -> None:
    row = board.row(0)
    assert row.unanswered() == 0
    for thread in range(3):
        row.pad(thread).sign(thread)
        begin(row, thread)
    assert row.unanswered() == 3
    row.pad(0).answer(10)
    assert row.unanswered() == 2


def test_where_very_many_run_all_count_as_unanswered() -> None:
    fd = create(20)
    row = Scoreboard(fd, 20).row(0)
    os.close(fd)
    for thread in range(20):
        begin(row, thread)
        row.pad(thread).answer(10)
    assert row.unanswered() == 20


def test_all_have_been_busy_since_the_last_one_began(board: Scoreboard) -> None:
    row = board.row(0)
    row.living = row.lived = 2
    begin(row, 0, now=100)
    assert row.all_busy_since() == 0
    begin(row, 1, now=300)
    assert row.all_busy_since() == 300
    row.lived = 3  # one that is about to rest: its seat is there, and idle
    assert row.all_busy_since() == 300
