"""The primary's loop: what an event is for may be gone when its turn comes."""

from __future__ import annotations

import os
import select

import pytest

from launcher.primary.main import _tolerant
from launcher.primary.reactor import Reactor


def test_an_event_is_not_passed_on_to_who_has_got_the_descriptor_since() -> None:
    reactor = Reactor()
    first_read, first_write = os.pipe()
    second_read, second_write = os.pipe()
    quiet_read, quiet_write = os.pipe()
    heard = []

    def replace_the_second(fd: int, _events: int) -> None:
        heard.append("first")
        reactor.forget(fd)
        reactor.forget(second_read)
        os.dup2(quiet_read, second_read)
        reactor.watch(second_read, select.EPOLLIN, lambda *_: heard.append("quiet"))
        reactor.call_later(0, reactor.stop)

    reactor.watch(first_read, select.EPOLLIN, replace_the_second)
    reactor.watch(second_read, select.EPOLLIN, lambda *_: heard.append("second"))
    os.write(first_write, b"x")  # epoll reports in the order in which they became ready
    os.write(second_write, b"x")
    reactor.run()
    assert heard == ["first"]
    reactor.close()
    for fd in (first_read, first_write, second_read, second_write, quiet_read, quiet_write):
        os.close(fd)


def test_what_a_handler_raises_is_passed_on_and_the_next_event_is_served() -> None:
    defects: list[Exception] = []
    reactor = Reactor(on_defect=defects.append)

    def fail() -> None:
        raise LookupError("a defect")

    reactor.call_later(0, fail)
    reactor.call_later(0, reactor.stop)
    reactor.run()
    assert [str(defect) for defect in defects] == ["a defect"]
    reactor.close()


def test_too_many_defects_end_it() -> None:
    reactor = Reactor(on_defect=_tolerant())
    lived = 0

    def fail() -> None:
        nonlocal lived
        lived += 1
        reactor.call_later(0, fail)
        raise LookupError("a defect")

    reactor.call_later(0, fail)
    with pytest.raises(LookupError):
        reactor.run()
    assert lived == 16
    reactor.close()


def test_what_is_watched_again_after_a_timer_forgot_it_is_heard() -> None:
    reactor = Reactor()
    read, write = os.pipe()
    heard = []

    def renew() -> None:
        reactor.forget(read)
        os.write(write, b"x")
        once = select.EPOLLIN | select.EPOLLET | select.EPOLLONESHOT
        reactor.watch(read, once, lambda *_: heard.append("x"))

    reactor.watch(read, select.EPOLLIN, lambda *_: None)
    reactor.call_later(0, renew)
    reactor.call_later(0.2, reactor.stop)
    reactor.run()
    assert heard == ["x"]
    reactor.close()
    os.close(read)
    os.close(write)
