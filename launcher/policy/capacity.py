"""How many connections fit, given how many descriptors a process may have (getrlimit(2))."""

from __future__ import annotations

MOST = 1 << 20

LEAST = 16
"""Fewer connections than that are no server."""

_PRIMARY = 48
"""Descriptors of the primary's own: its loop, logs and folder, the clients of its control socket,
and what a reload takes for a moment."""

_EACH_WORKER = 4
"""A channel and a pidfd, twice during a reload."""

_WORKER = 64
"""Descriptors of a worker's own, and some for its app."""

_LEAVING = 8
"""One descriptor in so many is for connections whose last response is yet to be read."""


def capacity(descriptors: int, workers: int, listeners: int) -> int:
    """How many connections a cluster can have, besides those that are being ended.

    The primary has each of them, and the workers have them between themselves. Up to half of
    a worker's descriptors are left to the app.
    """
    primary = descriptors - _taken(workers, listeners)
    each = descriptors - min(descriptors // 2, max(_WORKER, descriptors // 8))
    return max(0, min(primary - leaving(descriptors, workers, listeners), workers * each, MOST))


def leaving(descriptors: int, workers: int, listeners: int) -> int:
    """How many connections more may be kept until their last response is read."""
    return max(1, min(1024, (descriptors - _taken(workers, listeners)) // _LEAVING))


def least_descriptors(workers: int, listeners: int) -> int:
    """With how many descriptors `LEAST` connections fit."""
    return _taken(workers, listeners) + LEAST * _LEAVING // (_LEAVING - 1) + 2


def wanted_room(free: int, limit: int) -> int:
    """How many connections should be ended to make room; 0: there is enough.

    As in nginx, before it is too late: when less than a sixteenth is free.
    """
    low = max(1, limit // 16)
    return 2 * low - free if free < low else 0


def has_room(free: int, limit: int) -> bool:
    """Whether a quarter is free again, so that the shortage is over."""
    return free > limit // 4


def _taken(workers: int, listeners: int) -> int:
    return _PRIMARY + _EACH_WORKER * workers + listeners
