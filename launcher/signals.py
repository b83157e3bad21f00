"""What signals do to our processes: nothing, but for those that are documented.

Most signals end a process that has not said otherwise (signal(7)), and process
managers, terminals and people used to gunicorn send many. So every process catches
all that could end, stop or harm it. Not caught are those that cannot be (KILL, STOP and
the two of the C library), and those of a crash, which are to look like one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

Reaction = Callable[[int, FrameType | None], object]

CRASHES = {
    signal.SIGABRT,  # also of systemd's watchdog
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
"""What a process brings upon itself by a defect (signal(7)). Never caught."""
_HARMLESS = {
    signal.SIGCONT,
    signal.SIGPIPE,  # this one and SIGXFSZ are ignored by Python
    signal.SIGURG,
    signal.SIGWINCH,
    signal.SIGXFSZ,
}
_OF_THE_TERMINAL = {signal.SIGTTIN, signal.SIGTTOU}
"""Ignored: a handler for SIGTTOU would have its write(2) tried again for ever."""

CAUGHT = frozenset(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - CRASHES - _HARMLESS
) - frozenset(_OF_THE_TERMINAL)

_reactions: Mapping[int, Reaction] = {}
_owner = 0
_of_the_app: dict[int, Any] = {}


def ignore_the_terminal() -> None:
    """Not be stopped for reading from or writing to a terminal in the background."""
    for number in _OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)


def take_over() -> None:
    """In a pool, before the app is loaded: from here on signals do what `react` says, or nothing.

    An app that installs a handler of its own finds ours with signal.getsignal, and may
    call it from there.
    """
    ignore_the_terminal()
    for number in CAUGHT:
        _install(number, _react)
    react({})


def react(reactions: Mapping[int, Reaction]) -> None:
    """What signals do in this process, unless the app has installed another handler."""
    global _reactions, _owner
    _reactions = reactions
    _owner = os.getpid()


def set_aside() -> None:
    """Keep the handlers that the app has installed from running in the pool."""
    for number in CAUGHT:
        handler = signal.getsignal(number)
        # None: not Python's, so it cannot be put back either.
        if handler is not None and handler is not _react:
            _of_the_app[number] = handler
            _install(number, _react)


def give_back() -> None:
    """In a worker: install the app's handlers again."""
    for number, handler in _of_the_app.items():
        _install(number, handler)


def insist(number: int) -> None:
    """The app cannot have this one."""
    _install(number, _react)


def _install(number: int, handler: Any) -> None:
    signal.signal(number, handler)
    signal.siginterrupt(number, False)  # a system call goes on (SA_RESTART)


def _react(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _owner:
        _default(number, frame)
    elif reaction := _reactions.get(number):
        reaction(number, frame)


def _default(number: int, frame: FrameType | None) -> None:
    """In a process that the app has forked: its parent may well want to end it."""
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    elif number != signal.SIGCHLD:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
