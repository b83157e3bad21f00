"""What tests of several threads share."""

from __future__ import annotations

import threading
from typing import Any

from launcher.worker.threads.leadership import Leadership


def stop_watching(lead: Leadership) -> None:
    """Have a watcher, which lasts as long as its process, do nothing from its next pause on.

    Else those of all tests before look about a hundred times a second each.
    """
    ours: Any = lead
    ours.wait_for_bell = lambda timeout: threading.Event().wait()
