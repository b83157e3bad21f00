"""When a worker gets one more thread: histories of what was used, with exact times."""

from __future__ import annotations

import math

from launcher.policy.serving.growth import FAILED, PAUSE, Growth, Sample


class Worker:
    """A worker whose threads are all at work, and what they use."""

    def __init__(self, least: int = 4, most: int = 64) -> None:
        self.growth = Growth(least, most)
        self.living = least
        self.now = 100.0
        self.cpu = 0.0
        self.ran: dict[int, float] = dict.fromkeys(range(least), 0.0)

    def pass_time(self, seconds: float, *busy: tuple[int, float]) -> None:
        """``busy``: seats and which part of the time each computes."""
        self.now += seconds
        for seat, part in busy:
            self.ran[seat] += part * seconds
            self.cpu += part * seconds

    def ask(self, computing: int = 0) -> tuple[bool, float]:
        sample = Sample(self.now, self.cpu)
        start, again = self.growth.decide(self.living, computing, sample, lambda: dict(self.ran))
        if start:
            self.ran[self.living] = 0.0
            self.living += 1
        return start, again

    def grow(self, seconds: float, *busy: tuple[int, float], computing: int = 0) -> None:
        """Ask every time it says to, for so long."""
        until = self.now + seconds
        while self.now < until:
            _, again = self.ask(computing)
            if again == math.inf:
                return
            self.pass_time(max(again, PAUSE), *busy)


def test_the_one_that_is_spare_is_started_whatever_the_others_do() -> None:
    worker = Worker()
    assert worker.ask(computing=4) == (True, PAUSE)
    assert worker.living == 5


def test_requests_that_wait_get_a_thread_a_millisecond() -> None:
    worker = Worker()
    worker.grow(0.1)
    assert worker.living == 64
    worker = Worker()
    worker.grow(0.02)
    assert 15 <= worker.living <= 25


def test_no_more_than_there_may_be() -> None:
    worker = Worker(4, 8)
    worker.grow(1)
    assert worker.living == 8
    assert worker.ask() == (False, math.inf)
    assert not worker.growth.refused


def test_where_two_compute_there_is_one_spare_and_no_more() -> None:
    worker = Worker()
    worker.grow(5, (0, 0.5), (1, 0.5), computing=2)
    assert worker.living == 5
    assert worker.growth.refused


def test_an_interpreter_that_is_used_up_by_many_gets_no_more_of_them() -> None:
    worker = Worker(8)
    worker.grow(5, *((seat, 0.12) for seat in range(8)))
    assert worker.living <= 9
    assert worker.growth.refused


def test_one_that_computes_without_end_keeps_no_other_from_being_served() -> None:
    worker = Worker()
    worker.grow(1, (0, 0.97))
    assert worker.living == 64


def test_a_refusal_is_thought_over() -> None:
    worker = Worker()
    worker.grow(1, computing=2)
    assert worker.living == 5
    worker.grow(0.2)
    assert worker.living > 30
    assert not worker.growth.refused


def test_a_thread_that_cannot_be_had_is_tried_again_a_second_later() -> None:
    worker = Worker()
    assert worker.ask()[0]
    worker.living -= 1
    worker.growth.failed(worker.now)
    assert worker.growth.refused
    worker.pass_time(FAILED / 2)
    assert worker.ask() == (False, FAILED / 2)
    worker.pass_time(FAILED / 2)
    assert worker.ask()[0]
    assert not worker.growth.refused


def test_what_was_used_long_ago_says_nothing() -> None:
    worker = Worker()
    worker.ask()
    worker.pass_time(1, (0, 0.5), (1, 0.5))
    assert worker.ask() == (False, PAUSE)
    worker.pass_time(PAUSE)
    assert worker.ask() == (True, PAUSE)


def test_two_looks_that_are_too_close_say_nothing() -> None:
    worker = Worker()
    worker.ask()
    worker.pass_time(1)
    assert worker.ask() == (False, PAUSE), "the look before is too old to compare with"
    worker.pass_time(PAUSE / 2)
    assert worker.ask() == (False, PAUSE)
    worker.pass_time(PAUSE)
    assert worker.ask() == (True, PAUSE)
