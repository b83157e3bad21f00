"""What is compared: one frozen description for each server, and how it is told the same thing.

Every one serves the same routes with the same number of processes, in the
configuration its own documentation gives for that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.toolbox import Toolbox

SERVERS = Path(__file__).parent / "servers"
NAME = "bench"
"""The launcher's and PM2's name for what they run."""


@dataclass(frozen=True)
class Setup:
    """What a server is told."""

    tools: Toolbox
    port: int
    folder: Path
    """Its working directory, empty and its own."""
    app: str = "app:create_app()"
    """As gunicorn names it: module:attribute or module:factory()."""
    workers: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the app is told."""


Command = Callable[[Setup], list[str]]


@dataclass(frozen=True)
class Peer:
    """A server: how to start it, and what it can do."""

    key: str
    title: str
    needs: tuple[str, ...]
    command: Command
    environment: Callable[[Setup], Mapping[str, str]] = lambda _: {}
    reload: Command | None = None
    """The command for a reload without downtime; one that starts with SIGHUP is a signal to it."""
    respawns: bool = True
    """Whether it replaces a dead worker."""
    deals: bool = False
    """Whether it is ours, with a primary that deals connections."""
    family: str = ""
    """Of which server it is a variant that differs in its threads; empty: of none."""
    rests: bool = True
    """Whether it is measured where nothing waits."""
    waits: bool = False
    """Whether it is measured where every request waits or computes: it has the threads for that."""
    source: Path | None = None
    """The working copy it runs from, if not the one that is measured."""

    @property
    def name(self) -> str:
        """The server's, without what makes it a variant."""
        return self.title.partition(",")[0]

    @property
    def ours(self) -> bool:
        return self.key.startswith("ours")

    @property
    def python(self) -> bool:
        """Whether it runs the Flask app."""
        return "node" not in self.needs


def _ours(*options: str) -> Command:
    def command(setup: Setup) -> list[str]:
        return [
            *(str(setup.tools.python), "-m", "launcher", "run", setup.app),
            *("--name", NAME, "--workers", str(setup.workers), "--port", str(setup.port)),
            *options,
        ]

    return command


def _our_home(setup: Setup) -> dict[str, str]:
    return {"LAUNCHER_HOME": str(setup.folder / "home")}


def _our_reload(setup: Setup) -> list[str]:
    return [str(setup.tools.python), "-m", "launcher", "reload", NAME]


def _gunicorn(*options: str) -> Command:
    def command(setup: Setup) -> list[str]:
        return [
            *(str(setup.tools.peers_python), "-m", "gunicorn", setup.app),
            *("--workers", str(setup.workers), "--bind", f"127.0.0.1:{setup.port}"),
            *("--preload", "--no-control-socket", "--log-level", "warning"),
            *options,
        ]

    return command


def _uwsgi(*options: str) -> Command:
    def command(setup: Setup) -> list[str]:
        return [
            str(setup.tools.peers_python.with_name("uwsgi")),
            *("--http-socket", f"127.0.0.1:{setup.port}", "--listen", "1024"),
            *("--master", "--processes", str(setup.workers)),
            *("--virtualenv", str(setup.tools.peers_python.parent.parent), "--wsgi", setup.app),
            *("--need-app", "--disable-logging", "--die-on-term"),
            # It closes after each response but does not say so; a client has to be told.
            *("--add-header", "Connection: close"),
            *options,
        ]

    return command


def _granian(*options: str) -> Command:
    def command(setup: Setup) -> list[str]:
        return [
            *(str(setup.tools.peers_python), "-m", "granian", "--interface", "wsgi"),
            *("--host", "127.0.0.1", "--port", str(setup.port), "--workers", str(setup.workers)),
            *("--no-ws", "--log-level", "warning", "--respawn-failed-workers"),
            *options,
            *(("--factory",) if setup.app.endswith("()") else ()),
            setup.app.removesuffix("()"),
        ]

    return command


def _bjoern(setup: Setup) -> list[str]:
    module = "benchmarks.servers.bjoern_server"
    python = str(setup.tools.peers_python)
    return [python, "-m", module, setup.app, str(setup.port), str(setup.workers)]


def _node(setup: Setup) -> list[str]:  # noqa: ARG001
    return ["node", str(SERVERS / "cluster.js")]


def _node_environment(setup: Setup) -> dict[str, str]:
    return {"PORT": str(setup.port), "WORKERS": str(setup.workers)}


def _pm2(setup: Setup) -> list[str]:
    # pm2-runtime is PM2 in the foreground: the same daemon, which ends when it is told to.
    script = setup.tools.node_modules / "pm2" / "bin" / "pm2-runtime"
    app = str(SERVERS / "express.js")
    return ["node", str(script), "start", app, "-i", str(setup.workers), "--name", NAME]


def _pm2_environment(setup: Setup) -> dict[str, str]:
    return {**_node_environment(setup), "PM2_HOME": str(setup.folder / "pm2")}


def _pm2_reload(setup: Setup) -> list[str]:
    return ["node", str(setup.tools.node_modules / "pm2" / "bin" / "pm2"), "reload", NAME]


def _hang_up(setup: Setup) -> list[str]:  # noqa: ARG001
    return ["SIGHUP"]


def _launcher(key: str, title: str, *options: str, **how: Any) -> Peer:
    told = {"deals": True, **how}
    return Peer(key, title, (), _ours(*options), _our_home, _our_reload, **told)


def _gunicorn_peer(key: str, kind: str, *options: str, title: str = "", **how: Any) -> Peer:
    command = _gunicorn("--worker-class", kind, *options)
    title = title or f"gunicorn {kind}"
    return Peer(key, title, ("flask", "gunicorn"), command, reload=_hang_up, **how)


THREADS = ("4", "16", "64")
"""How many the servers get that have a fixed number, where the app waits: the best one counts."""


def _gthreads() -> Iterable[Peer]:
    """The one with 4 is also the gthread of all other scenarios."""
    for n in THREADS:
        key = "gthread" if n == "4" else f"gthread-{n}"
        title = f"gunicorn gthread, {n} threads"
        how = {"family": "gthread", "rests": n == "4", "waits": True}
        yield _gunicorn_peer(key, "gthread", "--threads", n, title=title, **how)


def _with_threads(peer: Peer, command: Callable[..., Command], option: str) -> Iterable[Peer]:
    """Of a server that is told no number where nothing waits."""
    for n in THREADS:
        yield dataclasses.replace(
            peer,
            key=f"{peer.key}-{n}",
            title=f"{peer.title}, {n} threads",
            command=command(option, n),
            family=peer.key,
            rests=False,
            waits=True,
        )


_NODE = ("node", "express")
_UWSGI = Peer("uwsgi", "uWSGI", ("flask", "uwsgi"), _uwsgi(), reload=_hang_up)
# Without a number it starts threads as it needs them, as the launcher does.
_GRANIAN = Peer("granian", "granian", ("flask", "granian"), _granian(), reload=_hang_up, waits=True)

PEERS = (
    _launcher("ours", "launcher", waits=True),
    _launcher("ours-1thread", "launcher, 1 thread", "--threads", "1"),
    _launcher("ours-4threads", "launcher, 4 threads", "--threads", "4", rests=False, waits=True),
    _launcher("ours-kernel", "launcher, kernel policy", "--policy", "kernel", deals=False),
    Peer("bjoern", "bjoern", ("flask", "bjoern"), _bjoern, respawns=False),
    _UWSGI,
    *_with_threads(_UWSGI, _uwsgi, "--threads"),
    Peer("node", "Node cluster + Express", _NODE, _node, _node_environment, waits=True),
    Peer("pm2", "PM2 + Express", (*_NODE, "pm2"), _pm2, _pm2_environment, _pm2_reload, waits=True),
    _GRANIAN,
    *_with_threads(_GRANIAN, _granian, "--blocking-threads"),
    _gunicorn_peer("sync", "sync"),
    *_gthreads(),
)

BY_KEY = {peer.key: peer for peer in PEERS}

FAMILIES = tuple(dict.fromkeys(peer.family for peer in PEERS if peer.family))
"""The servers that have variants."""


def variants(family: str) -> list[str]:
    """The keys of a server and of its variants; none where there is no such server."""
    return [peer.key for peer in PEERS if family in (peer.key, peer.family)]
