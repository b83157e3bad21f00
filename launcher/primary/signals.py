"""What signals mean to the primary. All others are caught and do nothing."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from launcher.events.changes import ReloadRequested
from launcher.primary.journal import note
from launcher.primary.log import log
from launcher.proc import has_terminal
from launcher.signals import CAUGHT, ignore_the_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.primary.cluster.primary import Primary


def heed_signals(primary: Primary) -> None:
    """From now on every signal that can be caught is: none ends the cluster other than in order."""
    ignore_the_terminal()
    ending = primary.ending
    meant: dict[int, Callable[[], object]] = {
        signal.SIGCHLD: primary.roster.reap,
        signal.SIGTERM: ending.stop,
        signal.SIGHUP: ending.stop if _ends_with_the_terminal() else partial(_reload, primary),
        signal.SIGINT: ending.interrupt,
        signal.SIGQUIT: ending.kill,
        signal.SIGUSR1: primary.reopen_logs,
        signal.SIGUSR2: partial(_name_reload, primary.settings.name),
        signal.SIGTSTP: _name_start,
    }
    primary.reactor.on_signals(dict.fromkeys(CAUGHT, _nothing) | meant)


def _ends_with_the_terminal() -> bool:
    """Whether SIGHUP says that the terminal is gone on which the cluster was started.

    Where there is none it is sent by people, or by an ExecReload, and means what it does to
    gunicorn. With nohup(1) the cluster is to outlive its terminal.
    """
    return has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


def _reload(primary: Primary) -> None:
    note(ReloadRequested("SIGHUP"))
    primary.rollouts.reload_soon()


def _name_reload(name: str) -> None:
    log(f"SIGUSR2 does nothing here; for new code: python -m launcher reload {name}")


def _name_start() -> None:
    log("Ctrl-Z does nothing here; to have a cluster in the background: python -m launcher start")


def _nothing() -> None:
    """What a signal does that means nothing here."""
