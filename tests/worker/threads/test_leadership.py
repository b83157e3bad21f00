"""One thread serves until it gives up the lead or loses it; then another does."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from launcher.policy.serving.growth import Growth
from launcher.worker.serving.seat import Seat, Term
from launcher.worker.threads.leadership import Leadership
from launcher.worker.threads.watcher import Watcher
from tests.support import eventually
from tests.worker.threads.tools import stop_watching

DEADLINE = 10.0


class Pad:
    """What a seat needs of a notepad."""

    def sign(self, thread: int) -> None:
        """Nothing is read of it here."""

    def began(self) -> int:
        return 0


class Jobs:
    """What has come and is ready; stands in for the parking."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    def has_events(self) -> bool:
        return not self.waiting.empty()


class Troupe:
    """Threads that serve jobs under one leadership and a watcher, as the crew serves events."""

    def __init__(self, size: int, most: int = 0) -> None:
        self.lead = Leadership()
        self.jobs = Jobs()
        self.seats: list[Seat] = []
        self.held_up: list[Seat] = []
        self.opened = threading.Event()
        self.let_go = threading.Event()
        """What is held up goes on."""
        self._starting = threading.Lock()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._size = size
        anything: Any = self.jobs
        self.watcher = Watcher(
            self.lead,
            anything,
            self.seats,
            Growth(size, most or size),
            start_thread=self.start_thread,
            held_up=self.held_up.append,
            expected_to_wait=lambda seat: True,
            open_desk=self.opened.set,
            has_held=lambda: False,
        )

    def __enter__(self) -> Troupe:
        for _ in range(self._size):
            self.start_thread()
        self.watcher.start()
        eventually(lambda: len(self.lead.resting) == self._size - 1)
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:  # the watcher may just start one, which is to end as well
            self._closed = True
        self.let_go.set()
        for _none in self._threads:
            self.jobs.waiting.put(None)
        while resting := self.lead.resting:
            self.lead.dismiss(float("inf"))
            assert len(resting) < len(self._threads)
        for thread in self._threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in self._threads)
        stop_watching(self.lead)

    def start_thread(self) -> bool:
        with self._starting:
            if self._closed:
                return False
            pad: Any = Pad()
            seat = Seat(len(self.seats), pad)
            seat.vacant = False
            self.seats.append(seat)
            thread = threading.Thread(target=self._work, args=(seat,), daemon=True)
            thread.start()
            self._threads.append(thread)
            return True

    def do(self, job: Callable[[], object]) -> threading.Event:
        """Have a job done; set when it begins."""
        begun = threading.Event()

        def with_notice() -> None:
            begun.set()
            job()

        self.jobs.waiting.put(with_notice)
        return begun

    def hold_up(self) -> None:
        """Have the leader serve a job that waits until `let_go`."""
        assert self.do(lambda: self.let_go.wait(DEADLINE)).wait(DEADLINE)

    def ask(self) -> int:
        """The thread that serves a job."""
        answer: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.jobs.waiting.put(lambda: answer.put(threading.get_ident()))
        return answer.get(timeout=DEADLINE)

    def _work(self, seat: Seat) -> None:
        seat.occupy()
        while term := self.lead.attain(seat):
            seat.turn += 1
            while self.lead.term is term:
                if not self._serve_one(term):
                    return
            seat.turn += 1
        seat.vacate()

    def _serve_one(self, term: Term) -> bool:
        term.since = 0.0
        job = self.jobs.waiting.get()
        term.since = time.monotonic()
        if self.lead.asleep:
            self.lead.wake()
        if job is None:
            self.lead.give_up(term)
            return False
        running: Any = job
        term.seat.running = running
        job()
        term.seat.running = None
        return True


def test_one_thread_serves_as_long_as_it_is_not_held_up() -> None:
    with Troupe(4) as troupe:
        served = [troupe.ask() for _ in range(200)]
    # To the watcher, a machine that does not let the leader run is a leader that is held up.
    assert max(served.count(thread) for thread in set(served)) > 50


def test_another_leads_when_the_leader_waits_and_the_forecast_hears_of_it() -> None:
    with Troupe(2) as troupe:
        troupe.hold_up()
        held = troupe.lead.term
        assert troupe.ask()
        assert not held or held.seat in troupe.held_up
        troupe.let_go.set()


def test_a_leader_that_computes_loses_the_lead_only_when_there_is_something_to_do() -> None:
    with Troupe(2) as troupe:

        def compute() -> None:
            while not troupe.let_go.is_set():
                sum(range(1000))

        assert troupe.do(compute).wait(DEADLINE)
        term = troupe.lead.term
        troupe.watcher.look(time.monotonic())
        assert troupe.lead.term is term
        assert troupe.ask() != (term.seat.ident if term else 0)
        assert troupe.held_up == []
        troupe.let_go.set()


def test_the_thread_that_rested_last_is_called_first() -> None:
    lead = Leadership()
    anything: Any = Pad()
    seats = [Seat(index, anything) for index in range(3)]
    leading = lead.attain(seats[0])
    lead.resting += seats[1:]
    assert lead.give_up(leading)
    assert leading
    assert lead.term is seats[2].term is not leading
    assert lead.resting == [seats[1]]
    assert not lead.leads(seats[0])
    assert lead.leads(seats[2])


def test_a_lead_that_nobody_takes_is_vacant_until_a_thread_is_free() -> None:
    lead = Leadership()
    anything: Any = Pad()
    first, second = (Seat(index, anything) for index in range(2))
    assert lead.give_up(lead.attain(first))
    assert lead.term is None
    assert lead.short
    assert lead.attain(second) is lead.term is second.term
    assert not lead.leads(first)


def test_a_lead_that_was_taken_from_a_leader_is_not_given_up_by_it() -> None:
    """The leader and the watcher end the same term; the second of them does nothing."""
    lead = Leadership()
    anything: Any = Pad()
    first, second = (Seat(index, anything) for index in range(2))
    term = lead.attain(first)
    lead.resting.append(second)
    assert lead.give_up(term)
    assert not lead.give_up(term)
    assert lead.leads(second)


def test_no_thread_rests_while_the_lead_is_vacant() -> None:
    """Threads lead, give up and rest as they like; in the end one leads and the others rest."""
    lead = Leadership()
    anything: Any = Pad()
    seats = [Seat(index, anything) for index in range(8)]
    rounds = [0] * len(seats)

    def play(seat: Seat) -> None:
        while term := lead.attain(seat):
            rounds[seat.index] += 1
            if sum(rounds) > 20_000:
                return
            lead.give_up(term)

    threads = [threading.Thread(target=play, args=(seat,)) for seat in seats]
    for thread in threads:
        thread.start()
    eventually(lambda: sum(rounds) > 20_000 and len(lead.resting) == len(seats) - 1)
    assert lead.term
    while lead.dismiss(float("inf")):
        pass
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_the_one_that_has_rested_longest_leaves_first_and_none_before_its_time() -> None:
    lead = Leadership()
    anything: Any = Pad()
    seats = [Seat(index, anything) for index in range(3)]
    for when, seat in enumerate(seats):
        seat.resting_since = float(when)
    lead.resting += seats
    assert lead.dismiss(0.0) is None
    assert lead.dismiss(0.5) is seats[0]
    assert seats[0].term is None
    assert lead.resting == seats[1:]
    assert lead.dismiss(0.5) is None


def test_all_but_one_may_be_held_up_and_then_one_is_started() -> None:
    with Troupe(4, most=6) as troupe:
        for _ in range(4):
            troupe.hold_up()
        assert troupe.ask()
        eventually(lambda: len(troupe.seats) == 6)
        assert not troupe.opened.is_set()
        troupe.let_go.set()


def test_when_all_there_may_be_are_held_up_the_desk_opens() -> None:
    with Troupe(2) as troupe:
        for _ in range(2):
            troupe.hold_up()
        assert troupe.opened.wait(DEADLINE)
        assert troupe.lead.term is None
        troupe.let_go.set()
        assert troupe.ask()


def test_a_leader_is_watched_again_after_a_long_quiet() -> None:
    """The watcher sleeps when nothing happens; the first event rings its bell."""
    with Troupe(2) as troupe:
        eventually(lambda: troupe.lead.asleep)
        troupe.hold_up()
        assert troupe.ask()
        troupe.let_go.set()


def test_the_watcher_sleeps_also_when_no_thread_rests() -> None:
    """As in a worker of one thread. It is woken when the lead is given up, and opens the desk."""
    with Troupe(1) as troupe:
        assert troupe.do(lambda: troupe.lead.give_up(troupe.lead.term)).wait(DEADLINE)
        eventually(lambda: troupe.lead.asleep and troupe.lead.term)
        troupe.hold_up()
        assert troupe.opened.wait(DEADLINE)
        troupe.let_go.set()
        assert troupe.ask()
        eventually(lambda: troupe.lead.asleep)


def test_two_may_ring_the_bell_at_once() -> None:
    """The leader and the one before have both seen that the watcher sleeps."""
    lead = Leadership()
    lead.wake()
    lead.wake()
