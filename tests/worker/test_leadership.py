"""One thread serves until it is held up; then another does, and nothing is forgotten."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from launcher.worker.leadership import Leadership, Term

DEADLINE = 10.0


class Troupe:
    """Threads that serve jobs under one leadership, as the crew serves events."""

    def __init__(self, size: int) -> None:
        self.lead = Leadership()
        self.jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work) for _ in range(size)]

    def __enter__(self) -> Troupe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.jobs.put(None)
        for thread in self._threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in self._threads)

    def hold_up(self, release: threading.Event) -> None:
        """Have whoever leads serve a job that lasts until ``release``."""
        held = threading.Event()

        def job() -> None:
            held.set()
            release.wait(DEADLINE)

        self.jobs.put(job)
        assert held.wait(DEADLINE)

    def ask(self) -> str:
        """The name of the thread that serves a job."""
        answer: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.jobs.put(lambda: answer.put(threading.current_thread().name))
        return answer.get(timeout=DEADLINE)

    def _work(self) -> None:
        while True:
            term = self.lead.attain()
            while self.lead.term is term:
                if not self._serve_one(term):
                    return

    def _serve_one(self, term: Term) -> bool:
        term.since = 0.0
        job = self.jobs.get()
        term.since = time.monotonic()
        if self.lead.asleep:
            self.lead.wake()
        if job is None:
            self.jobs.put(None)  # for the next
            return False
        job()
        return True


def test_one_thread_serves_as_long_as_it_is_not_held_up() -> None:
    with Troupe(4) as troupe:
        served = [troupe.ask() for _ in range(200)]
    # To the others, a machine that does not let the leader run is a leader that is held up.
    assert max(served.count(name) for name in set(served)) > 50


def test_another_leads_when_the_leader_is_held_up() -> None:
    release = threading.Event()
    with Troupe(2) as troupe:
        troupe.hold_up(release)
        assert troupe.ask()
        release.set()


def test_all_but_one_may_be_held_up() -> None:
    release = threading.Event()
    with Troupe(4) as troupe:
        for _ in range(3):
            troupe.hold_up(release)
        assert troupe.ask()
        release.set()


def test_who_was_held_up_leads_again_when_all_others_are() -> None:
    first, second = threading.Event(), threading.Event()
    with Troupe(2) as troupe:
        troupe.hold_up(first)
        troupe.hold_up(second)
        first.set()
        assert troupe.ask()
        second.set()


def test_a_leader_is_watched_again_after_a_long_quiet() -> None:
    """The next in line sleeps when nothing happens; the first event rings its bell."""
    release = threading.Event()
    with Troupe(2) as troupe:
        while not troupe.lead.asleep:
            release.wait(0.001)
        troupe.hold_up(release)
        assert troupe.ask()
        release.set()


def test_two_may_ring_the_bell_at_once() -> None:
    """Who led before and who leads now have both seen that the next in line sleeps."""
    lead = Leadership()
    lead.wake()
    lead.wake()
