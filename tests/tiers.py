"""Which tests a run has, and which of them run beside others.

======== ========================== =============================================================
tier     command                    tests
======== ========================== =============================================================
quick    ``pytest -m quick``        without a cluster, and one that goes once through all it does
default  ``pytest``                 all but those that are marked ``install`` or ``long``
long     ``TEST_SIZE=full pytest    all, with every load as large as is promised
         -m "" -n 0``
======== ========================== =============================================================

``.ci/run`` runs the default tier and, after it, what is marked ``install``.

``quick`` is given by rule: to a test that takes none of the fixtures of STARTERS, is in none of the
rooms of REAL and is not marked ``slow``, ``install`` or ``long``. ``tests/test_smoke.py`` is marked
by hand.

A run of the whole default tier is spread over several processes by pytest-xdist, a file at a time.
What is in ``tests/alone/`` measures time or CPU, so it runs last: in one process, when the others
have ended. A run of some files, of the quick tier or with ``-n 0`` has one process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

STARTERS = frozenset({"console", "shell", "start_background", "start_cluster", "start_shared"})
"""Fixtures that start clusters, or commands."""

ALONE = "tests/alone/"
LONGEST = "tests/faults/"
REAL = (ALONE, LONGEST, "tests/cluster/")
"""Rooms of tests that start processes, whatever fixtures they take."""

PER_CPU = 2
"""Processes of tests for each CPU: most tests wait for something most of their time."""


def mark(items: list[pytest.Item]) -> None:
    """Give the marker ``quick`` by rule, and put the longest files first, those alone last."""
    for item in items:
        if _is_quick(item):
            item.add_marker("quick")
    items.sort(key=_turn)


def _is_quick(item: pytest.Item) -> bool:
    held_back = any(item.get_closest_marker(name) for name in ("slow", "install", "long"))
    starts = STARTERS.intersection(getattr(item, "fixturenames", ()))
    return not (held_back or starts or item.nodeid.startswith(REAL))


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(ALONE):
        return 2
    return 0 if item.nodeid.startswith(LONGEST) else 1


def processes(config: pytest.Config) -> int:
    """How many processes run the tests; 0 for this one alone."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not whole or config.option.markexpr == "quick":
        return 0
    return PER_CPU * len(os.sched_getaffinity(0))


class Scheduling(LoadFileScheduling):
    """Files go to the process that is free; those alone to the last one, when no other is left.

    A process runs its last test only when it has been given another or told to end (xdist has to
    say what comes next). So when only files of ALONE are left, all but one are told to end, and the
    last one is given those files when it is the only one.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        """As there: a process has ended. It may have been the last but one."""
        crashed_in = super().remove_node(node)
        for remaining in self.nodes:
            self._reschedule(remaining)
        return crashed_in

    def _reschedule(self, node: WorkerController) -> None:
        alone_is_next = next(iter(self.workqueue), "").startswith(ALONE)
        others = [other for other in self.nodes if other is not node]
        if node.shutting_down or not alone_is_next or not others:
            super()._reschedule(node)
        elif any(not other.shutting_down for other in others):
            node.shutdown()
