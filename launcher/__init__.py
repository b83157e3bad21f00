"""A cluster launcher for Python web apps.

A *primary* process owns the listening sockets and every accepted connection.
It starts a *pool* per generation of the app: a fresh interpreter that loads the
app once and forks a *worker* per core. The primary deals each connection to a
worker over a channel and keeps a duplicate of it, so that when a worker goes,
its connections go to another one.

Read in this order to follow one connection: ``primary/connections/acceptor.py``,
``primary/connections/dispatcher.py``, ``policy/scheduling.py``, ``ipc/messages.py``,
``worker/threads/crew.py``, ``worker/serving/service.py``, ``reading.py`` and ``running.py``,
``worker/exchange/hotpath.py``, ``worker/connection/connection.py``.
"""

import os

__all__ = ["__version__", "current_worker"]

__version__ = "0.1.0"

PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that other interpreters find this package in."""


class CurrentWorker:
    """Which worker this process is; all zero outside a cluster.

    ``id`` counts from 1 and is never used again within a cluster (as Node's
    ``cluster.worker.id``). ``slot`` is 0 to n-1, the place in the cluster that
    outlives the process (as PM2's ``NODE_APP_INSTANCE``). ``generation``
    counts the loads of the app: it rises with every reload.
    """

    __slots__ = ("generation", "id", "slot")

    def __init__(self) -> None:
        self.id = 0
        self.slot = 0
        self.generation = 0

    def __repr__(self) -> str:
        return f"<worker {self.id} slot {self.slot} generation {self.generation}>"


current_worker = CurrentWorker()
"""The worker this process is. Set once, before the app's first request."""
