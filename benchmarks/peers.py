"""What is compared: one frozen description for each server, and how it is told the same thing.

Every one serves the same routes with the same number of processes, in the
configuration its own documentation gives for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
    waits: bool = False
    """The app waits: servers that are at their best with one thread otherwise get 4."""


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


def _uwsgi(setup: Setup) -> list[str]:
    return [
        str(setup.tools.peers_python.with_name("uwsgi")),
        *("--http-socket", f"127.0.0.1:{setup.port}", "--listen", "1024"),
        *("--master", "--processes", str(setup.workers)),
        *("--virtualenv", str(setup.tools.peers_python.parent.parent), "--wsgi", setup.app),
        *("--need-app", "--disable-logging", "--die-on-term"),
        # It closes after each response but does not say so; a client has to be told.
        *("--add-header", "Connection: close"),
        *(("--threads", "4") if setup.waits else ()),
    ]


def _granian(setup: Setup) -> list[str]:
    factory = setup.app.endswith("()")
    return [
        *(str(setup.tools.peers_python), "-m", "granian", "--interface", "wsgi"),
        *("--host", "127.0.0.1", "--port", str(setup.port), "--workers", str(setup.workers)),
        *("--no-ws", "--log-level", "warning", "--respawn-failed-workers"),
        *(("--blocking-threads", "4") if setup.waits else ()),
        *(("--factory",) if factory else ()),
        setup.app.removesuffix("()"),
    ]


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


def _launcher(key: str, title: str, *options: str, deals: bool = True) -> Peer:
    return Peer(key, title, (), _ours(*options), _our_home, _our_reload, deals=deals)


def _gunicorn_peer(key: str, *options: str) -> Peer:
    command = _gunicorn("--worker-class", key, *options)
    return Peer(key, f"gunicorn {key}", ("flask", "gunicorn"), command, reload=_hang_up)


_EXPRESS = ("node", "express")

PEERS = (
    _launcher("ours", "launcher"),
    _launcher("ours-1thread", "launcher, 1 thread", "--threads", "1"),
    _launcher("ours-kernel", "launcher, kernel policy", "--policy", "kernel", deals=False),
    Peer("bjoern", "bjoern", ("flask", "bjoern"), _bjoern, respawns=False),
    Peer("uwsgi", "uWSGI", ("flask", "uwsgi"), _uwsgi, reload=_hang_up),
    Peer("node", "Node cluster + Express", _EXPRESS, _node, _node_environment),
    Peer("pm2", "PM2 + Express", (*_EXPRESS, "pm2"), _pm2, _pm2_environment, _pm2_reload),
    Peer("granian", "granian", ("flask", "granian"), _granian, reload=_hang_up),
    _gunicorn_peer("sync"),
    _gunicorn_peer("gthread", "--threads", "4"),
)

BY_KEY = {peer.key: peer for peer in PEERS}
