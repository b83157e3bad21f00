"""``--max-requests``: a worker counts the requests that it begins, so that it stops in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

App = Callable[..., Any]


def counted(app: App, limit: int, spent: Callable[[], None]) -> App:
    """``app``, so that its ``limit``-th call calls ``spent`` first.

    In the thread of that request, which is the last to begin, but for those that begin meanwhile.
    """
    count = itertools.count(1)  # next() is atomic: several threads run the app

    def run(environ: Any, start_response: Any) -> Any:
        if next(count) == limit:
            spent()
        return app(environ, start_response)

    return run
