"""gunicorn's logger, with lines that say which worker wrote them."""

from __future__ import annotations

import logging

from gunicorn.glogging import Logger as GunicornLogger

from launcher import current_worker


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        worker = current_worker
        record.role = f"worker {worker.id} slot {worker.slot}" if worker.id else "pool"
        return super().format(record)


class Logger(GunicornLogger):
    """``2026-11-22 10:00:00 [worker 3 slot 1] message``."""

    def setup(self, cfg: object) -> None:
        """As gunicorn's, then name the worker in lines of its own handler."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            if getattr(handler, "_gunicorn", False):
                handler.setFormatter(
                    _Formatter("%(asctime)s [%(role)s] %(message)s", "%Y-%m-%d %H:%M:%S")
                )
