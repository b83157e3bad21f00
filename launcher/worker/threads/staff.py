"""How many threads a worker has, and what the scoreboard and the log say of them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from launcher.config.readers import MAX_THREADS
from launcher.ipc.scoreboard import Row
from launcher.policy.serving.growth import Growth
from launcher.policy.serving.waiting import STREAM
from launcher.worker.serving.queue import RESERVE, RESERVE_FROM
from launcher.worker.serving.seat import Job, Seat
from launcher.worker.threads.leadership import Leadership

IDLE = 30.0
"""Seconds without a request after which a thread leaves."""

_BETWEEN = 1.0
"""Seconds between two threads that leave."""

_QUIET = 10.0
"""Seconds without a long wait after which the next one is worth a line in the log again."""


class Staff:
    """The seats of one worker. The watcher starts threads, all else is for the main thread."""

    def __init__(
        self,
        least: int,
        most: int,
        row: Row,
        lead: Leadership,
        log: Any,
        work: Callable[[Seat], None],
    ) -> None:
        """``work`` is what a thread does, until it is to leave."""
        self.seats: list[Seat] = []
        self.growth = Growth(least, most)
        self._least = least
        self._most = most
        self._row = row
        self._lead = lead
        self._log = log
        self._work = work
        self._cannot_start = False
        self._told = -math.inf
        self._shrunk = 0.0

    @property
    def living(self) -> int:
        """How many threads there are."""
        return sum(not seat.vacant for seat in self.seats)

    def start(self) -> None:
        """Start the least number of threads."""
        for _ in range(self._least):
            self.start_one()

    def start_one(self) -> bool:
        """Start one thread more; False when the system allows none."""
        seat = next((seat for seat in self.seats if seat.vacant), None)
        if seat is None:
            seat = Seat(len(self.seats), self._row.pad(len(self.seats)))
            self.seats.append(seat)
        seat.vacant = False
        thread = threading.Thread(
            target=self._work, args=(seat,), name=f"serving-{seat.index}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            seat.vacant = True
            if not self._cannot_start:
                self._cannot_start = True
                self._log.warning("%s: going on with %d threads", error, self.living)
            return False
        self._cannot_start = False
        self._row.living = self.living
        return True

    def shrink(self, now: float) -> None:
        """Have a thread leave that has rested for `IDLE` seconds, if there are enough."""
        if now - self._shrunk >= _BETWEEN and self.living > self._least:
            self._shrunk = now
            self._lead.dismiss(now - IDLE)

    def publish(self, leaving: bool) -> None:
        """Write into the scoreboard how many threads there are, and how many there may be."""
        row, living = self._row, self.living
        refused = self.growth.refused and not self._lead.resting
        capacity = 0 if leaving else living if refused else self._most
        row.living = living
        row.stream_capacity = max(0, capacity - RESERVE * (self._most >= RESERVE_FROM))
        row.capacity = capacity

    def look_at_streams(self, now: int, found: Callable[[Job], None]) -> None:
        """Note which requests have turned out to be streams (``now``: monotonic nanoseconds)."""
        streaming = 0
        for seat in [*self.seats]:
            running = seat.running
            if running is None or not (running.conn.taken_over or seat.pad.answered()):
                continue
            if running is not seat.answering:
                seat.answering, seat.answering_since = running, now
            elif now - seat.answering_since >= STREAM:
                streaming += 1
                if running is not seat.streaming:
                    seat.streaming = running
                    found(running)
        self._row.streaming = streaming

    def tell_that_all_are_busy(self, now: float) -> None:
        """Write a line into the log, if there was none for the `_QUIET` seconds before."""
        busy = [seat for seat in self.seats if seat.running]
        if not busy:  # the process was stopped (SIGSTOP): all threads are free again
            return
        last, self._told = self._told, now
        if now - last < _QUIET:
            return
        oldest = min(seat.pad.began() for seat in busy)
        streams = sum(seat.running is seat.streaming for seat in busy)
        kinds = Counter(
            f"{running.request.method} {running.request.path}"
            for seat in busy
            if (running := seat.running)
        )
        self._log.warning(
            "%d of %d threads are busy, one for %.1f s now (%s; %d are streams), and requests "
            "wait: %s",
            len(busy),
            self.living,
            time.monotonic() - oldest * 1e-9,
            ", ".join(f"{count} x {what}" for what, count in kinds.most_common(3)),
            streams,
            self._advice(streams),
        )

    def _advice(self, streams: int) -> str:
        if self._cannot_start:
            return "the system allows no more threads (ulimit -u, pids.max)"
        if self.growth.refused:
            return "they compute, so more threads would not help: more workers may"
        more = f"--threads {self._least}:{min(2 * self._most, MAX_THREADS)} allows more"
        return f"{more}, and streams need one each" if streams else more
