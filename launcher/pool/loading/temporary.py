"""Temporary files where there is no folder for them: a container with a read-only root.

gunicorn makes one for each worker, and large request bodies are kept in some.
"""

from __future__ import annotations

import os
import tempfile

from gunicorn.config import Config
from gunicorn.workers import base
from gunicorn.workers.workertmp import WorkerTmp

from launcher.places import SHARED_MEMORY

__all__ = ["provide"]


class InMemory(WorkerTmp):
    """gunicorn's file for a worker's signs of life; our workers give them in the scoreboard."""

    def __init__(self, cfg: Config) -> None:
        if cfg.worker_tmp_dir:
            super().__init__(cfg)
        else:
            self._tmp = os.fdopen(os.memfd_create("worker", os.MFD_CLOEXEC), "w+b", 0)


def provide() -> list[str]:
    """Have this process and its workers do without a disk, if there is none; notices about it.

    Temporary files go to shared memory then, also those of an app that asks Python for a place.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return [f"no folder for temporary files can be written: {_instead()}: set TMPDIR"]
    return []


def _instead() -> str:
    base.WorkerTmp = InMemory  # type: ignore[attr-defined]
    if os.access(SHARED_MEMORY, os.W_OK | os.X_OK, effective_ids=True):
        os.environ["TMPDIR"] = SHARED_MEMORY
        return f"they are in {SHARED_MEMORY}, and take memory"
    return "requests with large bodies fail, and so does what else needs them"
