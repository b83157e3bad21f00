"""Changes that a user asks for: reload, restart, also of one worker, scale; one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from launcher.config.settings import Settings
from launcher.errors import LauncherError
from launcher.events.changes import ChangeBegun, ChangeDone, ChangeFailed, ScaleBegun
from launcher.events.workers import WorkerRestartBegun, WorkerRestartDone
from launcher.primary.cluster.record import Record, Trouble
from launcher.primary.cluster.replacement import Replacement, replaceable
from launcher.primary.cluster.staffing import Staffing
from launcher.primary.journal import note
from launcher.primary.log import write
from launcher.primary.processes.generation import Generation, Terms
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.primary.reactor import Reactor, Timer
from launcher.primary.traffic import Traffic

_SOON = 1.0
"""Seconds until a reload that no client waits for is tried again."""


class Outcome(Protocol):
    """Is told once what came of a change, now or later."""

    def done(self, result: Any) -> None:
        """The change is carried out; ``result`` are plain JSON values."""

    def refused(self, message: str, detail: str = "") -> None:
        """The change is not carried out. ``message`` is one line; ``detail`` is shown before it."""


class _Unasked:
    """The outcome of a reload that no client waits for: the log has told it."""

    def done(self, result: Any) -> None:
        """Nothing is left to do."""

    def refused(self, message: str, detail: str = "") -> None:
        """Nothing is left to do."""


@dataclass(slots=True)
class Rollout:
    """One change under way."""

    kind: str
    """``reload``, ``restart``, ``scale``, or ``restart of worker 4``."""
    generation: Generation
    """The new one of a reload or restart, the current one of a scale."""
    outcome: Outcome
    replacement: Replacement | None = None
    """Of a restart of one worker."""


class Rollouts:
    """Begins changes, notices when they are carried out, undoes a reload that fails."""

    def __init__(
        self, staffing: Staffing, traffic: Traffic, reactor: Reactor, record: Record
    ) -> None:
        self.under_way: Rollout | None = None
        self._staffing = staffing
        self._traffic = traffic
        self._reactor = reactor
        self._record = record
        self.reloads = {"done": 0, "failed": 0}
        """Since the start of the cluster, by result; changes of other kinds are not counted."""
        self._stopped = False
        self._next_try: Timer | None = None
        """Of a reload that no client waits for."""

    @property
    def on_trial(self) -> Generation | None:
        """The new generation of a reload, which the first thing that goes wrong undoes."""
        rollout, following = self.under_way, self._staffing.next
        reloads = rollout and rollout.kind == "reload" and rollout.generation is following
        return following if reloads else None

    def is_on_trial(self, worker: WorkerHandle) -> bool:
        """Whether a worker is one of the new generation of a reload, or replaces another."""
        replacement = self.under_way and self.under_way.replacement
        if replacement and replacement.is_new(worker):
            return True
        return self.on_trial is not None and worker.generation == self.on_trial.number

    def reload(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """Replace the generation by a new one once that is ready; else keep it.

        ``terms``: other ones than before, from then on. Raises LauncherError
        when it cannot be begun.
        """
        generation = self._launch("reload", terms)
        self._staffing.next = generation
        self.under_way = Rollout("reload", generation, outcome)

    def restart(self, outcome: Outcome, terms: Terms | None = None) -> None:
        """End the generation and start another, whatever comes of it. Connections wait.

        ``terms`` as of `reload`. Raises LauncherError when it cannot be begun.
        """
        generation = self._launch("restart", terms)
        self._staffing.replace(generation)
        self.under_way = Rollout("restart", generation, outcome)

    def restart_worker(self, slot: int, outcome: Outcome) -> None:
        """Replace one worker, the new one first. LauncherError when it cannot be begun."""
        current = self._current_unless_busy()
        old = replaceable(slot, self._staffing.wanted, current.online())
        note(WorkerRestartBegun(old.identity))
        kind = f"restart of worker {old.id}"
        self.under_way = Rollout(kind, current, outcome, Replacement(old))

    def scale(self, settings: Settings, outcome: Outcome) -> None:
        """Have as many workers as these say. Raises LauncherError when that is nothing new."""
        staffing = self._staffing
        current = self._current_unless_busy()
        if staffing.exhausted:
            reason = self._record.reason or "its workers do not live"
            raise LauncherError(f"{reason}: reload or restart it first")
        if settings.wanted == staffing.wanted:
            name = staffing.settings.name
            raise LauncherError(f"nothing to do: {name!r} has {settings.wanted} workers already")
        self._traffic.size_for(settings.wanted)
        note(ScaleBegun(staffing.wanted, settings.wanted))
        staffing.size(settings)
        self.under_way = Rollout("scale", current, outcome)

    def reload_soon(self) -> None:
        """Reload when nothing is in the way; once, however often it is asked for meanwhile."""
        if self._next_try is None and not self._stopped:
            self._reload_when_possible()

    def conclude(self) -> None:
        """Look whether the change under way is carried out."""
        rollout, staffing = self.under_way, self._staffing
        if rollout is None or staffing.current is None:
            return
        if rollout.replacement:
            self._conclude_replacement(rollout, rollout.replacement, staffing.current)
            return
        if rollout.generation not in (staffing.current, staffing.next):
            rollout.generation = staffing.current  # its pool was lost: this one goes on
        workers = staffing.wanted
        if rollout.generation is staffing.current and len(staffing.online()) == workers:
            self.under_way = None
            number = rollout.generation.number
            if rollout.kind == "reload":
                self.reloads["done"] += 1
            note(ChangeDone(rollout.kind, workers, number))
            self._record.trouble = None
            rollout.outcome.done({"generation": number, "workers": workers})

    def fail(self, trouble: Trouble) -> None:
        """End the change under way, if there is one: it cannot be carried out."""
        rollout, self.under_way = self.under_way, None
        if rollout:
            if rollout.kind == "reload":
                self.reloads["failed"] += 1
            if rollout.replacement:
                rollout.replacement.give_up()
            failed = ChangeFailed(rollout.kind, trouble.reason)
            note(failed)
            write(trouble.detail)
            rollout.outcome.refused(failed.text, trouble.detail)

    def replacement_gone(self, worker: WorkerHandle) -> None:
        """If this worker was to replace another, that one stays; why is not known yet."""
        replacement = self.under_way and self.under_way.replacement
        if replacement and replacement.is_new(worker):
            replacement.give_up()

    def replacement_failed(self, worker: WorkerHandle, trouble: Trouble) -> bool:
        """A worker will not do; whether it was to replace another, which stays then."""
        replacement = self.under_way and self.under_way.replacement
        if not (replacement and replacement.is_new(worker)):
            return False
        worker.leave("restart failed")
        self.fail(trouble)
        return True

    def undo(self, generation: Generation, trouble: Trouble) -> bool:
        """Discard the new generation of a reload that failed; whether it was one."""
        if generation is not self.on_trial:
            return False
        self._staffing.discard_next("reload failed")
        self.fail(trouble)
        return True

    def stop(self) -> None:
        """The cluster stops: there are no more changes."""
        self._stopped = True
        self.fail(Trouble("the cluster was stopped"))

    def _conclude_replacement(
        self, rollout: Rollout, replacement: Replacement, current: Generation
    ) -> None:
        old, new = replacement.old, replacement.done(current)
        if new:
            self.under_way = None
            note(WorkerRestartDone(new.identity, old.id))
            rollout.outcome.done({"slot": old.slot, "old": old.id, "new": new.id})
        elif why := replacement.impossible(current):
            self.fail(Trouble(why))

    def _launch(self, kind: str, terms: Terms | None) -> Generation:
        self._current_unless_busy()
        if kind == "restart":
            self._staffing.try_again()
        generation = self._staffing.launch(terms or self._staffing.terms)
        if generation is None:
            raise LauncherError(self._record.reason)
        note(ChangeBegun(kind, generation.number))
        return generation

    def _current_unless_busy(self) -> Generation:
        if self._stopped:
            raise LauncherError("the cluster is being stopped")
        if self.under_way:
            kind = self.under_way.kind
            raise LauncherError(f"a {kind} is under way: try again when it is done")
        if self._staffing.next or not self._staffing.current:
            raise LauncherError("the cluster is starting: try again when it is online")
        return self._staffing.current

    def _reload_when_possible(self) -> None:
        self._next_try = None
        try:
            self.reload(_Unasked())
        except LauncherError:
            self._next_try = self._reactor.call_later(_SOON, self._reload_when_possible)
