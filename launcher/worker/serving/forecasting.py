"""What a thread does for a request because of what is expected of it, and learns behind it.

What to expect is `launcher.policy.serving.waiting`'s to say; this is where its plans become acts.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from launcher.policy.serving.waiting import HAND_OVER, MEASURE, WORTH, Forecast, Route
from launcher.worker.connection import unyielding
from launcher.worker.serving.seat import Job, Seat, Term


class Lead(Protocol):
    """What a thread asks about the lead, and may do to it; `Leadership` says more."""

    resting: list[Seat]

    def leads(self, seat: Seat) -> bool:
        """Whether the thread of this seat leads."""

    def give_up(self, term: Term | None) -> bool:
        """This term ends; False: it has ended before."""


class Conduct(NamedTuple):
    """How a request is run."""

    in_lead: bool
    """Whether its thread keeps the lead meanwhile."""
    measured: bool


UNPREPARED = Conduct(in_lead=False, measured=False)


class Forecasting:
    """The forecasts of one worker. For all of its threads."""

    def __init__(self, lead: Lead) -> None:
        self.forecast = Forecast()
        self._lead = lead

    def route(self, method: str, path: str) -> Route:
        """As `Forecast.route`."""
        return self.forecast.route(method, path)

    def prepare(self, route: Route, seat: Seat) -> Conduct:
        """Do what `Route.next_plan` says before a request."""
        plan = route.next_plan()
        in_lead = self._lead.leads(seat)
        if plan & HAND_OVER and in_lead:
            self._lead.give_up(seat.term)
            unyielding.crowded = True
            in_lead = False
        measured = plan & MEASURE != 0
        if measured:
            seat.begin_measuring()
        return Conduct(in_lead, measured)

    def learn(self, route: Route, seat: Seat, took: int, conduct: Conduct) -> None:
        """A request has ended; it ``took`` so many nanoseconds."""
        leads = conduct.in_lead and self._lead.leads(seat)
        if conduct.measured and took > WORTH:
            waited, sure = seat.waited(took, WORTH)
            # Where the watcher has taken the lead away it has told what is to be learned.
            route.ended(took, waited, leads, sure and leads == conduct.in_lead)
        else:
            route.ended(took, None, leads)

    # What the watcher and the main thread tell and ask

    def held_up(self, seat: Seat) -> None:
        """A leader was held up by a request that waits."""
        if job := seat.running:
            self._route_of(job).held_up()

    def expected_to_wait(self, seat: Seat) -> bool:
        """Whether what the thread of this seat runs is expected to wait."""
        job = seat.running
        return job is not None and self._route_of(job).waits

    def streams(self, job: Job) -> None:
        """A request has turned out to be a stream."""
        self._route_of(job).streamed()

    def _route_of(self, job: Job) -> Route:
        return self.forecast.route(job.request.method, job.request.path)
