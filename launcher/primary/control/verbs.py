"""What the command line can ask of a running cluster: one method per verb of the protocol."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from launcher.config.resolve import scale_target
from launcher.config.settings import FIXED_AT_START, Settings
from launcher.errors import LauncherError
from launcher.logs.folder import PRIMARY
from launcher.primary.cluster.primary import Primary
from launcher.primary.control.server import Answer, Verb
from launcher.primary.insight.activity import Latencies, activity
from launcher.primary.insight.meter import Meter
from launcher.primary.insight.minute import Minute
from launcher.primary.insight.status import description, report
from launcher.primary.processes.generation import Terms
from launcher.state.cluster_folder import ClusterFolder

_Args = Mapping[str, Any]

_STOP_MARGIN = 5


class Verbs:
    """The verbs of one cluster."""

    def __init__(
        self, primary: Primary, folder: ClusterFolder, meter: Meter, minute: Minute
    ) -> None:
        self._primary = primary
        self._folder = folder
        self._meter = meter
        self._latencies = Latencies(primary)
        self._minute = minute

    def table(self) -> Mapping[str, Verb]:
        """By name; every verb that the protocol knows."""
        return {
            "status": self._status,
            "describe": self._describe,
            "activity": self._activity,
            "stop": self._stop,
            "reload": self._reload,
            "restart": self._restart,
            "restart_worker": self._restart_worker,
            "scale": self._scale,
            "signal": self._signal,
            "reopen": self._reopen,
            "reset": self._reset,
        }

    def _status(self, _args: _Args, answer: Answer) -> None:
        answer.done(report(self._primary, self._minute.percentiles()))

    def _describe(self, _args: _Args, answer: Answer) -> None:
        answer.done(description(self._primary, self._meter, self._minute.percentiles()))

    def _activity(self, _args: _Args, answer: Answer) -> None:
        times = self._minute.percentiles()
        answer.done(activity(self._primary, self._meter, self._latencies, times))

    def _stop(self, _args: _Args, answer: Answer) -> None:
        deadline = self._primary.settings.graceful_timeout + _STOP_MARGIN
        answer.done({"pid": os.getpid(), "deadline": deadline})
        self._primary.ending.stop(keep_entry=True)

    def _reload(self, args: _Args, answer: Answer) -> None:
        self._primary.reload(_Then(answer, self._keep), self._terms(args))

    def _restart(self, args: _Args, answer: Answer) -> None:
        self._primary.restart(_Then(answer, self._keep), self._terms(args))

    def _restart_worker(self, args: _Args, answer: Answer) -> None:
        self._primary.restart_worker(args["slot"], answer)

    def _scale(self, args: _Args, answer: Answer) -> None:
        workers, why = scale_target(args["to"], self._primary.wanted)
        asked = None if args["to"] == "auto" else workers
        settings = self._primary.settings.sized(asked, workers, args.get("why") or why)
        self._primary.scale(settings, _Then(answer, self._keep))

    def _signal(self, args: _Args, answer: Answer) -> None:
        try:
            number = signal.Signals(args["number"])
        except ValueError:
            raise LauncherError(f"there is no signal {args['number']}") from None
        workers = self._primary.signal(number)
        if not workers:
            raise LauncherError("there is no worker now")
        answer.done({"workers": workers})

    def _reopen(self, _args: _Args, answer: Answer) -> None:
        processes = [(os.getpid(), PRIMARY), *self._primary.reopen_logs()]
        if not self._primary.settings.log_to_files:
            processes = []  # only files that the app or gunicorn's configuration has opened
        answer.done([{"pid": pid, "source": source} for pid, source in processes])

    def _reset(self, _args: _Args, answer: Answer) -> None:
        self._primary.reset()
        self._meter.clear()
        self._latencies.clear()
        self._minute.clear()
        answer.done({})

    def _terms(self, args: _Args) -> Terms:
        """The terms in force, changed as the client asks. Raises LauncherError."""
        terms = self._primary.terms
        if "settings" in args:
            if odd := Settings.unknown_in(args["settings"]):
                raise LauncherError(f"settings of another version: {', '.join(map(repr, odd))}")
            settings = _allowed(terms.settings, Settings.from_json(args["settings"]))
            terms = dataclasses.replace(terms, settings=settings)
        if "environment" in args:
            environment = _environment(args["environment"])
            terms = dataclasses.replace(terms, environment=environment)
        return dataclasses.replace(terms, mark=args.get("mark", terms.mark))

    def _keep(self) -> None:
        """Write the settings down, so that the next start has them too."""
        self._folder.write_app_json(self._primary.settings.to_json())


class _Then(Answer):
    """Passes an outcome on; before that a change that is done is followed by ``act``."""

    def __init__(self, answer: Answer, act: Callable[[], None]) -> None:
        self._answer = answer
        self._act = act

    def done(self, result: Any) -> None:
        try:
            self._act()
        except LauncherError as error:  # e.g. the disk is full
            self._answer.refused(f"it was done, but will not be so at the next start: {error}")
        else:
            self._answer.done(result)

    def refused(self, message: str, detail: str = "") -> None:
        self._answer.refused(message, detail)


def _allowed(now: Settings, wanted: Settings) -> Settings:
    """The settings that a reload brings, with the number of workers that there is now.

    Raises LauncherError when they change what cannot change while the cluster runs.
    """
    fixed = [name for name in FIXED_AT_START if getattr(now, name) != getattr(wanted, name)]
    if fixed:
        raise LauncherError(f"a reload cannot change {', '.join(sorted(fixed))}")
    return dataclasses.replace(wanted.sized_as(now), log_to_files=now.log_to_files)


def _environment(variables: Mapping[Any, Any]) -> dict[str, str]:
    for key, value in variables.items():
        if not isinstance(value, str) or not key or "=" in key or not _can_be_passed(key + value):
            raise LauncherError("that is no environment")  # never shows a value
    return dict(variables)


def _can_be_passed(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeError:  # a lone surrogate that stands for no byte
        return False
