"""``ping``: whether a cluster serves, for scripts and health probes."""

import click

from launcher.cli.asking.facts import status_of
from launcher.cli.options import cluster_names, version
from launcher.cli.text import printable
from launcher.control.client import no_such_cluster
from launcher.errors import LauncherError
from launcher.state.home import Home, require_name

__all__ = ["ping"]

SERVING = ("online", "reloading")
"""In a reload the old workers serve until the new ones do."""


@click.command(epilog="Example: python -m launcher ping web")
@click.argument("name", metavar="NAME", shell_complete=cluster_names)
@version
def ping(name: str) -> int:
    """Exit with 0 if a cluster serves, else with 1: for scripts and probes.

    It does while it is online or reloading.
    """
    home = Home.open_existing()
    if home is None:
        raise no_such_cluster(require_name(name), [])
    with home:
        status = status_of(home, require_name(name))
        known = home.names()
    if status is None:
        raise no_such_cluster(name, known)
    state = printable(status["status"])
    if state not in SERVING:
        raise LauncherError(": ".join(filter(None, (f"{name} is {state}", status["error"]))))
    click.echo(f"{name} is {state}")
    return 0
