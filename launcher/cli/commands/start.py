"""``start``: clusters in the background."""

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import settings_options, tell_strays, version
from launcher.cli.text import printable
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.config.cluster_toml import ConfigFile
    from launcher.state.home import Home

__all__ = ["start"]


@click.command(
    epilog="Every option can also be set as a variable: LAUNCHER_WORKERS=4 for --workers 4.\n\n"
    "Example: python -m launcher start myapp:app --workers 4 --bind :8000"
)
@click.argument("apps", metavar="[APP...]", nargs=-1)
@settings_options
@version
def start(apps: tuple[str, ...], **flags: Any) -> int:
    """Start clusters in the background; return when they are ready.

    APP is module or module:attribute, or the name of an app in cluster.toml, or of a
    cluster that was stopped. Without any: all apps of the cluster.toml in this
    folder, else app:create_app(). An app of cluster.toml that runs already is
    reloaded or scaled to what the file says now. A cluster that cannot be
    started leaves nothing running.

    \b
    # cluster.toml: the keys are the options below, with underscores
    [defaults]
    threads = 8
    [apps.shop]
    app = "shop:app"
    bind = "127.0.0.1:8001"
    env = { MODE = "production" }
    [apps.shop.environments.staging]    (start --environment staging)
    workers = 1
    """
    from launcher.cli.starting.plan import plans_for_start
    from launcher.cli.starting.together import start_all
    from launcher.state.home import Home

    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        raise UsageError("start cannot take over the sockets of systemd: run can")
    tell_strays(os.environ)
    with closing(Home.open()) as home:
        plans = plans_for_start(apps, flags, os.environ, home)
        running = {
            plan.settings.name for plan in plans if plan.file and _runs(home, plan.settings.name)
        }
        status = start_all(home, [plan.settings for plan in plans], running)
        if plans[0].file and not apps:
            _tell_gone(home, plans[0].file)
    return status


def _runs(home: "Home", name: str) -> bool:
    entry = home.entry(name)
    return entry is not None and entry.running


def _tell_gone(home: "Home", file: "ConfigFile") -> None:
    """What was started from the file and is not in it any more is left alone, and said."""
    for name in home.names():
        entry = home.entry(name)
        if not entry or not entry.running or name in file.sections or not entry.settings:
            continue
        if entry.settings.get("config") == file.path:
            where = printable(os.path.basename(file.path))
            click.echo(
                f"{name} is not in {where} any more and was left running:"
                f" python -m launcher delete {name}"
            )
