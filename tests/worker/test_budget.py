"""Requests are counted as they begin, in several threads."""

from __future__ import annotations

import threading
from typing import Any

from launcher.worker.budget import counted


def test_it_is_said_once_as_the_last_request_begins() -> None:
    told: list[int] = []
    ran: list[tuple[Any, Any]] = []

    def app(environ: Any, start_response: Any) -> str:
        ran.append((environ, start_response))
        return "answer"

    run = counted(app, 3, lambda: told.append(len(ran)))
    assert [run(number, None) for number in range(5)] == ["answer"] * 5
    assert told == [2], "before the third, and never again"
    assert ran == [(number, None) for number in range(5)]


def test_threads_together_have_one_budget() -> None:
    told: list[None] = []
    run = counted(lambda *_: None, 4000, lambda: told.append(None))
    threads = [
        threading.Thread(target=lambda: [run(None, None) for _ in range(1000)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [None]
