"""gunicorn's logger, with lines that say which worker wrote them and steer no terminal."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.glogging import SafeAtoms

from launcher import current_worker
from launcher.logs.cleaning import printable_lines, quotable


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        worker = current_worker
        record.role = f"worker {worker.id} slot {worker.slot}" if worker.id else "pool"
        return printable_lines(super().format(record))


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the line tells more than the primary's: which worker, in which slot, is ready."""
    return record.msg != "Booting worker with pid: %s"


class _Atoms(SafeAtoms):
    """The values of a request for an ``access_log_format``, fit for one line."""

    def __init__(self, atoms: dict[str, Any]) -> None:
        dict.__init__(self, atoms)

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return quotable(value) if isinstance(value, str) else value


class _Steadfast:
    """A logger that cannot be disabled.

    An app that configures logging disables all loggers that it does not name, unless
    it says otherwise (`logging.config`). That is meant for libraries, not for the server.
    """

    @property
    def disabled(self) -> bool:
        """Never."""
        return False

    @disabled.setter
    def disabled(self, _value: bool) -> None:
        """Nothing: the logger stays enabled."""


class Logger(GunicornLogger):
    """``2026-11-22 10:00:00 [worker 3 slot 1] message``."""

    atoms_wrapper_class = _Atoms

    def setup(self, cfg: Config) -> None:
        """As gunicorn's, then name the worker in lines of its own handler."""
        super().setup(cfg)
        defined = cfg.settings["access_log_format"]
        self.has_format_of_its_own = defined.get() != defined.default
        """Whether gunicorn.conf.py says what an access log's lines look like."""
        self.error_log.addFilter(_is_news)
        for log in (self.error_log, self.access_log):
            if not isinstance(log, _Steadfast):
                log.__class__ = type("SteadfastLogger", (_Steadfast, type(log)), {})
        for handler in self.error_log.handlers:
            if getattr(handler, "_gunicorn", False):
                handler.setFormatter(
                    _Formatter("%(asctime)s [%(role)s] %(message)s", "%Y-%m-%d %H:%M:%S")
                )

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """As gunicorn's, but only for gunicorn's formats; ours is `worker.access_log`."""
        if self.has_format_of_its_own:
            super().access(resp, req, environ, request_time)
