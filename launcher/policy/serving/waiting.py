"""How long requests wait, by method and path: which of them to expect to wait next time.

A request that waits (for a database, a service) is best run after the lead was
given up, so that the next in line serves meanwhile. That costs a hand-over, so a
request that does not wait, or not for longer than a hand-over costs, is best run
in the lead (`launcher.worker.threads.leadership`).

What counts is the *waiting*: wall time less the thread's CPU time and its time on
the run queue. A thread that waits for the interpreter looks as if its request
waited, so only two kinds of figures prove something: a short one, whatever ran
beside it, and a long one of a request that was run in the lead, or while the
interpreter was mostly unused. Therefore requests that are handed over are tried in the
lead again: after `_FIRST_TRIAL` of them, then after twice as many, up to `_LAST_TRIAL`.
A trial is for all paths that begin alike (a *kind*) at once: each of a thousand keys is
asked for too seldom to be tried alone, and one request in the lead among many that are not
shows how busy the machine is with the others. It takes `_STREAK` requests, or the first
`_LOST` if they are all held up.

The averages are over requests and of at most `CLIP` each, because more than that is not
lost: the watcher takes the lead away from a leader that waits so long. So one long wait is no
reason to hand over the next hundred: the first request of each thread often connects to
something first.
"""

from __future__ import annotations

from collections.abc import Callable

WORTH = 200_000
"""Nanoseconds of waiting that are worth a hand-over; ``python -m benchmarks``, scenario
*threshold*, shows where that lies."""

CLIP = 500_000
"""Nanoseconds of one request's waiting that count."""

_CLEARLY = 1.25
"""Times `WORTH` above which the average is before requests are handed over; below `WORTH` they
are run in the lead again."""

_MOST_KNOWN = 8
_WEIGHT = 1 / _MOST_KNOWN
_FORGETTING = [(1 - _WEIGHT) ** quick for quick in range(64)]
"""What is left of an average after so many requests that did not wait."""

_ENOUGH = 4
"""Requests that tell how long those of a path wait; with fewer, its kind has a say."""

_FIRST_TRIAL, _LAST_TRIAL = 16, 1024
"""Requests that are handed over before the first trial of a kind, and at most before another: the
number doubles with each trial."""

_STREAK, _LOST = 8, 2
"""A trial takes 8 requests, or ends with the second if the first two are both held up."""

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


class Trial:
    """When requests of one kind are run in the lead although they are expected to wait."""

    __slots__ = ("_held_up", "_pause", "_samples", "news", "number", "on", "until")

    def __init__(self) -> None:
        self.on = False
        self.number = 0
        """Of the trial that is on, or was the last."""
        self.news = 0
        """How often one has ended, or what is expected of one of its routes has changed."""
        self.until = self._pause = _FIRST_TRIAL
        """Requests that are handed over before the next trial begins."""
        self._samples = self._held_up = 0

    def passed(self) -> None:
        """A request was handed over."""
        self.until -= 1
        if self.until <= 0 and not self.on:
            self._samples = self._held_up = 0
            self.number += 1
            self.on = True

    def saw(self, waited: int) -> None:
        """A request has ended that was run in the lead."""
        if not self.on:
            return
        self._samples += 1
        self._held_up += waited >= CLIP
        if self._samples >= _STREAK or self._samples == self._held_up == _LOST:
            self._pause = min(2 * self._pause, _LAST_TRIAL)
            self.until = self._pause
            self.on = False
            self.news += 1

    def won(self) -> None:
        """Requests that were expected to wait are no more: should they be again, try soon."""
        self.until = self._pause = _FIRST_TRIAL


class Route:
    """The requests of one method and path, or of several paths that begin alike.

    ``plan`` says what to do with the next request, 0: run it in the lead and think no
    more of it; one that has `HAND_OVER` is asked for by `next_plan`. After the request `quick`
    is counted up where it was short and the plan was 0, else `ended` is told.
    """

    __slots__ = (
        "_above",
        "_armed",
        "_between",
        "_heard",
        "_known",
        "_mean",
        "_passed",
        "_seen",
        "_short",
        "_tried",
        "plan",
        "quick",
        "streams",
        "trial",
        "waits",
    )

    def __init__(self, above: Route | None = None, trial: Trial | None = None) -> None:
        """``above``: of those that begin alike. ``trial``: of its kind; None: it is one."""
        self._above = above
        self.trial = trial or Trial()
        """Shared by all of its kind."""
        self._mean = 0.0
        self._known = 0
        """How many requests tell the average; no more are counted than `_WEIGHT` lets it tell."""
        self._tried = 0
        """The trial that was last heard of."""
        self.waits: bool = above.waits if above else False
        """Whether a request is expected to wait."""
        self._heard = self.trial.news
        self.streams: bool = above.streams if above else False
        """Whether a request has streamed, and the next one is expected to."""
        self.quick = 0
        """Requests that did not wait since the average was last looked at."""
        self._seen = False
        self._passed = self._between = 0
        """Slow requests that may pass before one is measured: those that are left, and all."""
        self._armed = False
        """Whether the next request is measured, although none is expected to wait."""
        self._short = 0
        """Requests in a row that were over before they could be called streams."""
        self.plan = 0
        self._plan_next()

    def next_plan(self) -> int:
        """As ``plan``, of a route whose requests are expected to wait."""
        if self._heard != self.trial.news:
            self._judge()
            self._plan_next()
        if self.trial.on and self.plan & HAND_OVER:
            return self.plan & ~HAND_OVER | MEASURE
        return self.plan

    def ended(self, took: int, waited: int | None, in_lead: bool, sure: bool = False) -> None:
        """A request has ended.

        ``took``: nanoseconds by the clock. ``waited``: of those the ones that it waited;
        None where that was not measured. ``in_lead``: nothing was handed over for it.
        ``sure``: it has not waited for the interpreter.
        """
        self._look_for_streams(took)
        if waited is None and took <= WORTH:
            waited = 0  # it can have waited no longer than it took
        if waited is None:
            self._passed -= 1
            self._armed = self._passed <= 0
        elif waited <= WORTH:
            self._learn(waited, in_lead)
            self._armed = False
            if took > WORTH:
                self._passed = self._between = min(2 * self._between + 2, _MOST_PASSED)
        elif in_lead or sure:
            self._learn(waited, in_lead)
            self._armed = True
            self._between = 0
        self._seen = True
        if self.waits and not in_lead:
            self.trial.passed()
        self._plan_next()

    def handed_over(self) -> None:
        """As `ended`, for one that was handed over, was not measured, and took its time.

        It is taken to have waited, as expected. It is the usual case of an app that waits.
        """
        self._mean += (CLIP - self._mean) * _WEIGHT
        self.trial.passed()
        if self.trial.until % _EVERY == 0:
            self._plan_next()

    def held_up(self) -> None:
        """A request of it made the leader wait for `CLIP`."""
        self._learn(CLIP, True)
        self._plan_next()

    def streamed(self) -> None:
        """A request of it has turned out to be a stream."""
        self.streams = True
        self._short = 0
        if self._above is not None and not self._seen:
            self._above.streams = True
        self._plan_next()

    def _look_for_streams(self, took: int) -> None:
        if self.streams and took < STREAM:
            self._short += 1
            self.streams = self._short < _SHORT

    def _learn(self, waited: int, in_lead: bool) -> None:
        if in_lead:
            self.trial.saw(waited)
        self._add(waited, self.quick)
        self.quick = 0

    def _add(self, waited: int, quick: int) -> None:
        """One request that waited so long comes to the average, after ``quick`` that did not."""
        above = self._above
        if above is not None and (above._above is not None or not self._known):
            above._add(waited, quick)  # all requests of a kind; of a kind the first of each trial
        if self.waits and self._tried != self.trial.number:
            self._known = 0  # what was known is what is on trial
        self._tried = self.trial.number
        self._mean *= _FORGETTING[min(quick, len(_FORGETTING) - 1)]
        self._known = min(self._known + quick + 1, _MOST_KNOWN)
        self._mean += (min(waited, CLIP) - self._mean) / self._known
        self._judge()

    def _expected(self) -> float:
        """Nanoseconds that the next request waits; the fewer are known, the more as its like."""
        above = self._above
        if above is None:
            return self._mean
        if self._known >= _ENOUGH or not above._known:
            return self._mean
        own = self._known / (self._known + above._known / 2)
        return own * self._mean + (1 - own) * above._expected()

    def _judge(self) -> None:
        self._heard = self.trial.news
        expected = self._expected()
        if self.waits and expected < WORTH and not self.trial.on:
            self.waits = False
            self.trial.won()
        elif not self.waits and expected > _CLEARLY * WORTH:
            self.waits = True
        else:
            return
        self.trial.news = self._heard = self._heard + 1

    def _plan_next(self) -> None:
        if not self.waits:
            plan = MEASURE if self._armed or not self._seen else 0
        elif self.trial.until % _EVERY == 0:
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
        route = self._routes[method, path] = Route(above, above.trial)
        return route
