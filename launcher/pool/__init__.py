"""What runs in a pool: loads the app once, forks workers, reaps them. Orders come from outside."""

import contextlib
import os
from collections.abc import Iterator

APP_FAILED = 4
"""Exit status of a process that could not load the app (gunicorn's APP_LOAD_ERROR)."""

WORKER_FAILED = 3
"""Exit status of a worker that an exception has ended (gunicorn's WORKER_BOOT_ERROR)."""


@contextlib.contextmanager
def _hidden(variable: str) -> Iterator[None]:
    text = os.environ.pop(variable, None)
    try:
        yield
    finally:
        if text is not None:
            os.environ[variable] = text


# gunicorn reads these variables as it is imported, and fails, then or later, over a value that
# is no number. Here it decides neither how many workers there are nor where they listen, and
# the app may mean something else by them. Where there is no gunicorn, or an unknown version,
# `supported` says so.
with (
    _hidden("WEB_CONCURRENCY"),
    _hidden("PORT"),
    _hidden("FORWARDED_ALLOW_IPS"),
    contextlib.suppress(ImportError),
):
    import gunicorn.config  # noqa: F401
