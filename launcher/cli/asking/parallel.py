"""Ask several clusters at once, so that a silent one does not hold up the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

__all__ = ["in_parallel"]

A = TypeVar("A")
R = TypeVar("R")


def in_parallel(function: Callable[[A], R], items: Sequence[A]) -> list[R]:
    """The results in the order of ``items``, or the first exception in that order.

    ``function`` has a deadline of its own. Not a ThreadPoolExecutor: after
    Ctrl-C that one waits for its threads, and ``stop`` may wait long; daemon
    threads go with the process.
    """
    return [future.result() for future in [_start(function, item) for item in items]]


def _start(function: Callable[[A], R], item: A) -> Future[R]:
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function(item))
        except Exception as error:
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future
