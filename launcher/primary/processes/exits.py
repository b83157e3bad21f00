"""How a process ended, in words and in figures."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Self

from launcher.events.workers import WorkerExited
from launcher.policy.staffing import EXTERNAL
from launcher.primary.processes.worker_handle import WorkerHandle
from launcher.signals import CRASHES

_FROM_WITHIN = CRASHES | {signal.SIGXCPU, signal.SIGXFSZ}
"""Signals that a process brings upon itself (signal(7))."""


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last worker that left a slot ended. Plain JSON values, made from `WorkerExited`."""

    slot: int
    id: int
    pid: int | None
    generation: int
    code: int | None
    signal: str | None
    reason: str
    """``crash``, ``timeout``, ``memory``, ``recycle``, ``reload``, ``restart``, ``scale``…"""
    when: float
    """Seconds since 1970: for people, nothing waits for it."""

    @classmethod
    def of(cls, event: WorkerExited, when: float) -> Self:
        """The same, as ``describe`` shows it."""
        which = event.which
        return cls(
            slot=which.slot,
            id=which.worker,
            pid=which.pid,
            generation=which.generation,
            code=event.code,
            signal=event.signal,
            reason=event.reason,
            when=when,
        )


def exit_of(worker: WorkerHandle, status: int | None, asked: bool) -> WorkerExited:
    """The end of a worker, with this ``status`` (as from wait(2)); None: not known yet.

    ``asked``: whether it was asked to leave, or the cluster is ending.
    """
    code, killed_by = (None, None) if status is None else code_and_signal(status)
    why = worker.leaving.why if worker.leaving else EXTERNAL
    return WorkerExited(worker.identity, why, code, killed_by, asked, worker.error or "")


def signal_name(number: int) -> str:
    """``SIGKILL``; real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_exit(status: int) -> str:
    """``status`` as from wait(2): "exited with status 1", "was killed by SIGKILL"."""
    if os.WIFSIGNALED(status):
        return f"was killed by {signal_name(os.WTERMSIG(status))}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def crashed(status: int) -> bool:
    """Whether a process ended from within (``status`` as from wait(2)).

    It exited, or broke a rule that the kernel or the C library watches over. Other signals
    come from outside: from an operator, an orchestrator, the kernel when memory is short.
    """
    return not os.WIFSIGNALED(status) or os.WTERMSIG(status) in _FROM_WITHIN


def code_and_signal(status: int) -> tuple[int | None, str | None]:
    """``status`` as from wait(2): the exit code, or the signal that killed it."""
    if os.WIFSIGNALED(status):
        return None, signal_name(os.WTERMSIG(status))
    return os.WEXITSTATUS(status), None
