"""What is told when the app, or gunicorn's configuration, cannot be loaded."""

from __future__ import annotations

import os
import runpy
import traceback
from typing import Self

import launcher
from launcher.ipc.records import shortened

_OURS = os.path.dirname(launcher.__file__)


class LoadError(Exception):
    """The app, or gunicorn's configuration, cannot be loaded.

    ``reason`` is one line; ``detail`` is the traceback of the app's own frames.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = shortened(reason, 1_000)
        self.detail = shortened(detail, 50_000)

    @classmethod
    def over(cls, what: str, error: BaseException) -> Self:
        """``what`` has failed because of ``error``."""
        summary = traceback.format_exception_only(error)[-1].strip()
        return cls(f"{what}: {summary}", app_traceback(error))

    @classmethod
    def from_a_hook(cls, error: BaseException, process: str = "the pool") -> Self:
        """An error in a hook, with its place: ``when_ready in conf.py, line 3: ...``.

        Where no frame is the user's, with the ``process`` that the error has ended.
        """
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if not _leads_to_the_app(frame.filename)]
        places = [f"{frame.name} in {frame.filename}, line {frame.lineno}" for frame in theirs]
        return cls.over(places[0] if places else process, error)


def app_traceback(error: BaseException) -> str:
    """The traceback of ``error`` without the frames that lead to the app."""
    trace = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [trace]
    while pending:
        part = pending.pop()
        if part:
            frames = [frame for frame in part.stack if not _leads_to_the_app(frame.filename)]
            part.stack = traceback.StackSummary.from_list(frames)
            pending += [part.__cause__, part.__context__]
    return "".join(trace.format())


def _leads_to_the_app(filename: str) -> bool:
    return (
        filename.startswith(("<frozen ", _OURS))
        or f"{os.sep}gunicorn{os.sep}" in filename
        or filename == runpy.__file__
        or filename.endswith(f"importlib{os.sep}__init__.py")
    )
