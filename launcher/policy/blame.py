"""Which request killed its worker, if one did.

A safe request that was running in a worker that died is run again: as long as nothing else is
known, it was a bystander. Whether it was, later deaths show:

* One that is answered when it runs again is acquitted of every death.
* A request that kills does it again, in the same way and at about the same
  age. Workers that are killed from outside die at any age of their requests.
* Of one death at most one request is guilty. It is condemned only when no other
  fits nearly as well. Then the deaths that it caused count against no other.
* A crash (an exit status, SIGSEGV) comes from within: two such deaths prove
  much. SIGKILL nearly always comes from outside: an operator, an orchestrator,
  the kernel when memory is short. In a crowd, one of 64 requests that meet it
  twice fits by chance; three times, and closely, it does not.
* While workers die of what is certainly none of their requests, a death proves
  nothing.

Only requests that can run again are suspects. A POST would
stay a suspect for ever: it never runs again, so nothing ever shows that it is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

Request = tuple[int, int]
"""The serial of a request's connection, and the bytes that were consumed on that before it."""

RECENT = 5.0
"""Seconds for which a death that no request explains is held against the outside."""

MOST_RERUNS = 5
"""After so many a request is not run again, whatever is known of it."""

_UNEXPLAINED = 2
"""So many workers that died within `RECENT`, and of none of their requests, show that something
else kills workers. Then every request that meets a death runs again at once."""

_CRASHES, _CRASHES_AT_ANY_AGE = 2, 4
_KILLS_ALONE, _KILLS_CLOSE, _KILLS_ALIKE = 2, 3, 4
"""Deaths that prove a request guilty, at ages that are alike unless the name says otherwise."""

_ALIKE, _ALIKE_SHARE = 0.1, 0.25
"""Ages that differ by no more seconds, or no larger a share of the greatest, are alike:
a request runs as fast as what runs beside it lets it."""

_CLOSE, _CLOSE_SHARE = 0.025, 0.05
"""The same where chance is likely, and is to be ruled out."""

_MARGIN = 0.1
"""Seconds by which the ages of the guilty must agree better than those of any other that was
there as often: on a busy machine a request takes its time to kill."""


class Fate(Enum):
    """What becomes of a request whose worker died."""

    AGAIN = auto()
    """It runs again at once."""
    APART = auto()
    """It runs again apart from other suspects: if its worker dies too, the request is proven guilty
    or nearly so."""
    NEVER = auto()
    """It does not run again: it killed, or has had more chances than it can have."""


class Suspect(NamedTuple):
    """A request that was running: for how many seconds, and how often it had run before."""

    age: float
    reruns: int


@dataclass(frozen=True, slots=True)
class _Death:
    when: float
    crashed: bool
    running: int
    """Requests of any kind that ran."""
    unsafe: bool
    """Whether any of those can never be acquitted."""
    suspects: dict[Request, Suspect]
    """Those that may have caused it. Empty: none that can run again has."""


class Blame:
    """The deaths of workers that still matter.

    ``now`` is monotonic seconds.
    """

    def __init__(self) -> None:
        self._deaths: list[_Death] = []

    def suspected(self) -> set[Request]:
        """The requests that may have caused a death and have not been acquitted."""
        return {request for death in self._deaths for request in death.suspects}

    def acquit(self, requests: Iterable[Request]) -> None:
        """These requests ran again and no worker died of them, or their clients have left."""
        for request in requests:
            for death in self._deaths:
                death.suspects.pop(request, None)

    def died(
        self, suspects: Mapping[Request, Suspect], running: int, crashed: bool, now: float
    ) -> dict[Request, Fate]:
        """A worker that was not asked to leave died while it ran ``suspects``.

        ``running``: how many requests it ran in all. ``crashed``: whether it ended from
        within, as far as its exit status tells. Answers what becomes of each suspect.
        """
        self._forget(now)
        death = _Death(now, crashed, running, running > len(suspects), dict(suspects))
        self._deaths.append(death)
        if self._unexplained(crashed, now) >= _UNEXPLAINED:
            fates = dict.fromkeys(suspects, Fate.AGAIN)
        elif guilty := self._guilty(death):
            fates = dict.fromkeys(suspects, Fate.AGAIN) | {guilty: Fate.NEVER}
        else:
            fates = {request: self._unproven(request, crashed) for request in suspects}
        spent = {request for request, (_, reruns) in suspects.items() if reruns >= MOST_RERUNS}
        fates |= dict.fromkeys(spent, Fate.NEVER)
        self._explain({request for request, fate in fates.items() if fate is Fate.NEVER})
        return fates

    def _forget(self, now: float) -> None:
        """Forget the deaths that are explained and not recent.

        One that has suspects left stays: a suspect may still run a minute later, and kill then.
        """
        self._deaths = [
            death for death in self._deaths if death.suspects or death.when > now - RECENT
        ]

    def _explain(self, guilty: set[Request]) -> None:
        self._deaths = [death for death in self._deaths if guilty.isdisjoint(death.suspects)]

    def _unexplained(self, crashed: bool, now: float) -> int:
        """How many recent deaths of this kind none of their requests caused.

        A crash beside a POST is not counted: the POST may have caused it. A SIGKILL beside a
        POST is: that a request has its worker killed like that is too rare to count.
        """
        return sum(
            death.crashed is crashed
            and not death.suspects
            and death.when > now - RECENT
            and not (crashed and death.unsafe)
            for death in self._deaths
        )

    def _guilty(self, death: _Death) -> Request | None:
        """The request that caused this death for certain; None: none is proven guilty.

        A request that was there at fewer deaths than another cannot explain them all.
        """
        ages = {request: self._ages(request, death.crashed) for request in death.suspects}
        most = max(map(len, ages.values()), default=0)
        compared = _CRASHES if death.crashed else _KILLS_CLOSE
        fits = sorted(
            (_spread(its[-compared:]), request) for request, its in ages.items() if len(its) == most
        )
        if not fits or (len(fits) > 1 and fits[1][0] - fits[0][0] < _MARGIN):
            return None
        guilty = fits[0][1]
        return guilty if self._proven(guilty, death) else None

    def _proven(self, request: Request, death: _Death) -> bool:
        """Whether its deaths prove a request guilty; by chance they would not agree so well."""
        ages = self._ages(request, death.crashed)
        alone = death.running == 1
        if death.crashed:
            again = alone and death.suspects[request].reruns > 0
            return again or _last(_CRASHES, ages, _alike) or len(ages) >= _CRASHES_AT_ANY_AGE
        ages_alone = self._ages(request, death.crashed, alone=True) if alone else []
        return (
            _last(_KILLS_ALONE, ages_alone, _alike)
            or _last(_KILLS_CLOSE, ages, _close)
            or _last(_KILLS_ALIKE, ages, _alike)
        )

    def _unproven(self, request: Request, crashed: bool) -> Fate:
        """The fate of a suspect that is not proven guilty.

        After a crash it runs apart. That is slower, and nearly all requests that a SIGKILL hits
        are bystanders: those run apart only after two deaths at ages that are alike.
        """
        apart = crashed or _last(2, self._ages(request, crashed), _alike)
        return Fate.APART if apart else Fate.AGAIN

    def _ages(self, request: Request, crashed: bool, alone: bool = False) -> list[float]:
        """Its ages at the deaths of this kind, oldest first, that it may have caused.

        ``alone``: those with which nothing else died.
        """
        return [
            death.suspects[request].age
            for death in self._deaths
            if request in death.suspects
            and death.crashed is crashed
            and not (alone and death.running > 1)
        ]


def _last(number: int, ages: Sequence[float], like: Callable[[Sequence[float]], bool]) -> bool:
    """Whether there are so many, and the last of them are like that."""
    return len(ages) >= number and like(ages[-number:])


def _spread(ages: Sequence[float]) -> float:
    return max(ages) - min(ages)


def _alike(ages: Sequence[float]) -> bool:
    return _spread(ages) <= max(_ALIKE, _ALIKE_SHARE * max(ages))


def _close(ages: Sequence[float]) -> bool:
    return _spread(ages) <= max(_CLOSE, _CLOSE_SHARE * max(ages))
