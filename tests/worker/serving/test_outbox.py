"""When responses are held, and when not."""

from __future__ import annotations

from typing import Any

from launcher.worker.serving.outbox import QUICK, Held, Outbox

conn: Any = None


def held(took: int) -> Held:
    return Held(conn, b"request", True, False, True, took)


def after(*times: int, enabled: bool = True) -> Outbox:
    outbox = Outbox(enabled)
    for took in times:
        outbox.saw(took)
    return outbox


def test_nothing_is_held_before_it_is_known_that_requests_are_quick() -> None:
    assert not after(*[1] * 63).open
    assert after(*[QUICK] * 64).open


def test_one_slow_request_ends_it_for_a_while() -> None:
    outbox = after(*[1] * 100, QUICK + 1)
    assert not outbox.open
    for _ in range(63):
        outbox.saw(1)
    assert not outbox.open
    outbox.saw(1)
    assert outbox.open


def test_it_can_be_turned_off() -> None:
    assert not after(*[1] * 100, enabled=False).open


def test_responses_come_out_in_order_and_once() -> None:
    outbox = after()
    assert outbox.take() is None
    assert [outbox.hold(held(number)) for number in range(32)] == [False] * 31 + [True]
    assert list(iter(outbox.take, None)) == [held(number) for number in range(32)]
    assert len(outbox) == 0


def test_none_waits_long() -> None:
    outbox = after()
    assert not outbox.hold(held(QUICK - 1))
    assert outbox.hold(held(2)), "the first has waited for the second"
    assert list(iter(outbox.take, None)) == [held(QUICK - 1), held(2)]
    assert not outbox.hold(held(2))
