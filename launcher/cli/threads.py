"""What the threads of workers are with, in words: for ``list``, ``describe`` and ``monit``.

A worker has `threads` of them, may have `threads_max`, and runs a request in `active`;
`streaming` is a part of these. A primary of an earlier version does not tell how many
there may be: `threads_max` is 0 then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.cli.text import show_count

__all__ = ["busy", "waits"]

Worker = Mapping[str, Any]
"""As in ``list --json``."""


def busy(workers: Sequence[Worker]) -> str:
    """How many requests run, of how many that could: ``3/64``; ``3`` where that is not told."""
    active = sum(worker["active"] for worker in workers)
    most = sum(worker["threads_max"] for worker in workers if worker["threads"])
    return f"{active}/{most}" if most else str(active)


def waits(status: Mapping[str, Any]) -> str:
    """How many requests wait, and what for; empty where none does."""
    waiting = status["waiting"]
    if not waiting:
        return ""
    told = "1 request waits" if waiting == 1 else f"{show_count(waiting)} requests wait"
    online = [worker for worker in status["workers"] if worker["status"] == "online"]
    if not online:
        return f"{told} for a worker: none is online"
    active, living, most, streams = (
        sum(worker[key] for worker in online)
        for key in ("active", "threads", "threads_max", "streaming")
    )
    streaming = f", {streams} with streams" if streams else ""
    at_most = f"; at most {most}" if living < most else ""
    return f"{told} for a thread: {active} of {living} are busy{streaming}{at_most}"
