"""When gunicorn's server hooks run here; ``docs/gunicorn.md`` has the table of all.

gunicorn's master lives as long as the server. Here each generation has a pool of its
own, and two overlap in a reload. So the first pool runs the hooks that run once for a server,
and a pool that is alone those that claim something which only one can have (a port).

An exception in a hook ends a generation that does not serve yet; later it is logged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.ipc.messages import Alone, Buried, Scaled

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

_FIRST = 1
"""The number of a cluster's first generation."""


@dataclass(frozen=True, slots=True)
class Departed:
    """Stands in ``child_exit`` for a process of an earlier pool: a worker, or that pool itself.

    It has the attributes of a worker that hooks read there.
    """

    pid: int
    age: int
    """The worker's id; 0 for a pool."""
    cfg: Any
    log: Any
    nr: int = 0
    alive: bool = False

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"


class Hooks:
    """Runs the hooks of one pool that are about more than one worker."""

    def __init__(self, arbiter: Arbiter, generation: int) -> None:
        self._arbiter = arbiter
        self._first = generation == _FIRST

    def begin(self) -> None:
        """The app is loaded."""
        cfg = self._arbiter.cfg
        hook = cfg.on_starting if self._first else cfg.on_reload
        hook(self._arbiter)

    def ready(self) -> None:
        """The pool is about to fork workers. Only a cluster's first pool is alone by then."""
        if self._first:
            self._arbiter.cfg.when_ready(self._arbiter)

    def child_exit(self, worker: Any) -> None:
        """A process has ended: a worker, or a `Departed`."""
        with self._logged("child_exit"):
            self._arbiter.cfg.child_exit(self._arbiter, worker)

    def heard(self, news: Alone | Buried | Scaled) -> None:
        """Run the hooks for what the primary has said."""
        match news:
            case Alone():
                with self._logged("when_ready"):
                    self._arbiter.cfg.when_ready(self._arbiter)
            case Buried(pid, age):
                self.child_exit(Departed(pid, age, self._arbiter.cfg, self._arbiter.log))
            case Scaled(workers):
                with self._logged("nworkers_changed"):
                    self._arbiter.num_workers = workers  # the setter runs the hook

    def end(self) -> None:
        """The pool ends."""
        with self._logged("on_exit"):
            self._arbiter.cfg.on_exit(self._arbiter)

    @contextlib.contextmanager
    def _logged(self, hook: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            assert self._arbiter.log
            self._arbiter.log.exception("Exception in %s hook", hook)
