"""How much clients may leave unread, and who goes beyond that."""

from __future__ import annotations

import pytest

from launcher.policy.serving.unread import (
    MOST,
    MOST_OF_ONE,
    STEP,
    TRIFLE,
    Reader,
    grace,
    has_room,
    slowest,
)

HALF = MOST_OF_ONE // 2


def test_a_connection_has_its_share_while_there_is_room_for_all() -> None:
    assert has_room(MOST_OF_ONE, MOST, waiting=False)
    assert not has_room(MOST_OF_ONE + 1, MOST_OF_ONE + 1, waiting=False)
    assert not has_room(TRIFLE + 1, MOST + 1, waiting=False)
    assert has_room(TRIFLE, MOST + 1, waiting=False), "such as the head in front of a file"


def test_a_thread_that_stays_is_let_go_at_half_of_it() -> None:
    assert has_room(HALF, MOST, waiting=True)
    assert not has_room(HALF + 1, HALF + 1, waiting=True)
    assert not has_room(TRIFLE + 1, MOST + 1, waiting=True)


def test_a_drip_is_no_progress() -> None:
    reader = Reader(taken=1000, since=5.0)
    for second in range(10):
        reader.look(1000 + second * (STEP // 10), 5.0 + second)
    assert (reader.taken, reader.since) == (1000, 5.0)
    reader.look(1000 + STEP, 15.0)
    assert (reader.taken, reader.since) == (1000 + STEP, 15.0)


def readers(*since: float, memory: int = MOST) -> dict[str, Reader]:
    names = "abcdefgh"[: len(since)]
    return {name: Reader(0, time, memory) for name, time in zip(names, since, strict=True)}


def test_who_has_read_least_for_longest_goes() -> None:
    assert slowest(readers(20.0, 10.0, 15.0), now=20.0, grace=1.0) == "b"


def test_nobody_goes_who_gets_on() -> None:
    assert slowest(readers(20.0, 19.5), now=20.0, grace=1.0) is None


def test_nobody_goes_while_there_is_room() -> None:
    assert slowest(readers(0.0, 0.0, memory=MOST // 2), now=20.0, grace=1.0) is None
    assert slowest({}, now=20.0, grace=1.0) is None


def test_no_more_go_than_are_too_much() -> None:
    table = readers(*[0.0] * 6, memory=MOST // 4)
    gone = []
    while (found := slowest(table, now=20.0, grace=1.0)) is not None:
        table[found].condemned = True
        gone.append(found)
    assert gone == ["a", "b"]


@pytest.mark.parametrize("threads", [1, 2, 4, 64])
def test_the_fewer_threads_are_left_for_others_the_less_a_client_may_dawdle(threads: int) -> None:
    graces = [grace(staying, threads) for staying in range(1, threads + 1)]
    assert graces == sorted(graces, reverse=True)
    assert graces[-1] < 0.5


def test_who_stays_among_many_has_time() -> None:
    assert grace(1, 4) == grace(16, 64) == 5.0
