"""When responses are held, and when not."""

from __future__ import annotations

from typing import Any

from launcher.worker.outbox import QUICK, Held, Outbox

conn: Any = None
HELD = Held(conn, b"request", b"response", again=True, ended=False, more=True, took=1)


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
    for number in range(16):
        assert not outbox.full
        outbox.hold(HELD._replace(took=number))
    assert outbox.full
    assert [held.took for held in iter(outbox.take, None)] == [*range(16)]
    assert len(outbox) == 0
