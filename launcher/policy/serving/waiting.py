"""How long requests wait, by method and path: which of them to expect to wait next time.

A request that waits (for a database, a service) is best run after the lead was
given up, so that the next in line serves meanwhile. That costs a hand-over, so a
request that does not wait, or not for longer than a hand-over costs, is best run
in the lead (`launcher.worker.threads.leadership`).

What counts is the *waiting*: wall time less the thread's CPU time and its time on
the run queue. A thread that waits for the interpreter looks as if its request
waited, so only two kinds of figures prove something: a short one, whoever ran
beside it, and a long one of a request that was run in the lead, or while the
interpreter was mostly unused. Therefore a route
whose requests are handed over is tried in the lead again: after `_FIRST_TRIAL`
requests, then after twice as many, up to `_LAST_TRIAL`; a trial goes on for up to
`_STREAK` requests, until those that were handed over before have come home and
are no longer in the way.

The average is over requests and of at most `CLIP` each, because more than that
does not happen: the watcher takes the lead away from a leader that waits so long.
"""

from __future__ import annotations

from collections.abc import Callable

WORTH = 200_000
"""Nanoseconds of waiting that are worth a hand-over; ``python -m benchmarks``, scenario
*threshold*, shows where that lies."""

CLIP = 500_000
"""Nanoseconds of one request's waiting that count."""

_BACK = 0.75
"""Part of `WORTH` below which the average falls before requests are run in the lead again."""

_WEIGHT = 1 / 8
_FORGETTING = [(1 - _WEIGHT) ** quick for quick in range(64)]
"""What is left of an average after so many requests that did not wait."""

_FIRST_TRIAL, _LAST_TRIAL = 16, 512
_STREAK = 8
_EVERY = 64
"""Of the requests that are handed over one in so many is measured."""

_MOST_PASSED = 16
"""Slow requests at most between two that are measured, where slow ones only compute."""

STREAM = 1_000_000_000
"""Nanoseconds after which a response that is still being sent is called a stream."""

_SHORT = 8
"""Shorter ones in a row after which a route is no longer expected to stream."""

_MOST_ROUTES = 2048
_MOST_OF_A_KIND = 128
"""Paths with the same beginning that are told apart; the others are forecast together."""

HAND_OVER, MEASURE, CAREFUL = 1, 2, 4
"""What `Route.plan` may say of the next request: give up the lead before it; measure how
long it waits; look whether there is room (it may be a stream, or never has ended yet)."""


class Route:
    """The requests of one method and path, or of several paths that begin alike.

    ``plan`` says what to do with the next request, 0: run it in the lead and think no
    more of it. After it `quick` is counted up where it was short and ``plan`` is 0, else
    `ended` is told.
    """

    __slots__ = (
        "_above",
        "_armed",
        "_between",
        "_mean",
        "_passed",
        "_pause",
        "_seen",
        "_short",
        "_streak",
        "_until_trial",
        "plan",
        "quick",
        "streams",
        "waits",
    )

    def __init__(self, above: Route | None = None) -> None:
        self._above = above
        """The route of those that begin alike; learns from the first request of this one."""
        self._mean: float = above._mean if above else 0.0
        self.waits: bool = above.waits if above else False
        """Whether a request is expected to wait."""
        self.streams: bool = above.streams if above else False
        """Whether a request has streamed, and the next one is expected to."""
        self.quick = 0
        """Requests that did not wait since the average was last looked at."""
        self._seen = False
        self._until_trial = self._pause = _FIRST_TRIAL
        self._streak = 0
        self._passed = self._between = 0
        """Slow requests that may pass before one is measured: those that are left, and all."""
        self._armed = False
        """Whether the next request is measured, although none is expected to wait."""
        self._short = 0
        """Requests in a row that were over before they could be called streams."""
        self.plan = 0
        self._plan_next()

    def ended(self, took: int, waited: int | None, in_lead: bool, sure: bool = False) -> None:
        """A request has ended.

        ``took``: nanoseconds by the clock. ``waited``: of those the ones that it waited;
        None where that was not measured. ``in_lead``: nothing was handed over for it.
        ``sure``: it has not waited for the interpreter.
        """
        if not self._seen and self._above is not None:
            self._above.ended(took, waited, in_lead, sure)
        self._seen = True
        if self.streams and took < STREAM:
            self._short += 1
            self.streams = self._short < _SHORT
        if waited is None and took <= WORTH:
            waited = 0  # it can have waited no longer than it took
        if waited is None:
            self._passed -= 1
            self._armed = self._passed <= 0
        elif waited <= WORTH:
            self._learn(waited)
            self._armed = False
            if took > WORTH:
                self._passed = self._between = min(2 * self._between + 2, _MOST_PASSED)
        elif in_lead or sure:
            self._learn(waited)
            self._armed = True
            self._between = 0
        self._count_down(in_lead)
        self._plan_next()

    def handed_over(self) -> None:
        """As `ended`, for one that was handed over, was not measured, and took its time.

        Nothing is learned of it. It is the usual case of an app that waits, so it is short.
        """
        self._until_trial -= 1
        if self._until_trial % _EVERY == 0 or self._until_trial <= 0:
            if self._until_trial <= 0:
                self._streak = _STREAK
            self._plan_next()

    def held_up(self) -> None:
        """A request of it made the leader wait for `CLIP`: the next ones are expected to as well.

        At once, not on average: with many of its kind on their way, each would hold up a leader.
        """
        if self._streak:
            self._end_trial()
        self._mean = max(self._mean, float(CLIP))
        self.waits = True
        self._plan_next()
        if self._above is not None and not self._seen:
            self._above.held_up()

    def streamed(self) -> None:
        """A request of it has turned out to be a stream."""
        self.streams = True
        self._short = 0
        if self._above is not None and not self._seen:
            self._above.streams = True
        self._plan_next()

    def _learn(self, waited: int) -> None:
        self._mean *= _FORGETTING[min(self.quick, len(_FORGETTING) - 1)]
        self.quick = 0
        self._mean += (min(waited, CLIP) - self._mean) * _WEIGHT
        if self._mean > WORTH:
            self.waits = True
        elif self._mean < _BACK * WORTH:
            self.waits = False
            self._streak = 0
            self._until_trial = self._pause = _FIRST_TRIAL

    def _count_down(self, in_lead: bool) -> None:
        """Towards the next trial in the lead, or through one that is under way."""
        if not self.waits:
            return
        if self._streak:
            self._streak -= in_lead
            if not self._streak:
                self._end_trial()
        else:
            self._until_trial -= 1
            if self._until_trial <= 0:
                self._streak = _STREAK

    def _end_trial(self) -> None:
        self._streak = 0
        self._pause = min(2 * self._pause, _LAST_TRIAL)
        self._until_trial = self._pause

    def _plan_next(self) -> None:
        if not self.waits:
            plan = MEASURE if self._armed or not self._seen else 0
        elif self._streak:
            plan = MEASURE
        elif self._until_trial % _EVERY == 0:
            plan = HAND_OVER | MEASURE
        else:
            plan = HAND_OVER
        if self.streams or not self._seen:
            plan |= CAREFUL
        self.plan = plan


class Forecast:
    """The routes of one worker."""

    def __init__(self) -> None:
        self._all = Route()
        self._routes: dict[tuple[str, str], Route] = {}
        self._kinds: dict[tuple[str, str], tuple[Route, Callable[[], int]]] = {}

    def route(self, method: str, path: str) -> Route:
        """The route of a request; for a path that is new, one that begins as its like does."""
        known = self._routes.get((method, path))
        return known or self._new_route(method, path)

    def _new_route(self, method: str, path: str) -> Route:
        if len(self._routes) >= _MOST_ROUTES or len(self._kinds) >= _MOST_ROUTES:
            self._routes.clear()
            self._kinds.clear()
        kind = method, path[: path.find("/", 1) + 1] or path
        found = self._kinds.get(kind)
        if found is None:
            left = iter(range(_MOST_OF_A_KIND))
            found = self._kinds[kind] = Route(self._all), lambda: next(left, -1)
        above, count = found
        if count() < 0:
            return above
        route = self._routes[method, path] = Route(above)
        return route
