"""``monit``: a live screen of the clusters."""

import contextlib

import click

from launcher.cli.options import cluster_names, version
from launcher.cli.text import complain, width
from launcher.control.client import no_such_cluster
from launcher.state.home import Home, require_name

__all__ = ["monit"]


@click.command(epilog="Example: python -m launcher monit web --once")
@click.argument("name", metavar="[NAME]", required=False, shell_complete=cluster_names)
@click.option("--once", is_flag=True, help="Print one frame and end; needs no terminal.")
@version
def monit(name: str | None, once: bool) -> int:
    """Watch clusters live: workers, running requests, the log.

    Rates are averages of the last seconds, and so are p50 and p99: the times
    in which half and 99 % of the requests were answered. With --once, and in
    the first second, these two are since the start of each worker. restarts
    are crashed/reloaded. On a large screen there are also graphs of requests
    and p99 over time, and the last exits.

    busy is how many requests run, of how many could at once; streams is how
    many of them are streams, threads how many threads there are just now.
    Where requests wait for a thread, a line says so.

    A cluster that does not answer is shown as errored; if it was asked for by
    NAME, --once then exits with 1.

    \b
    q            quit
    r            reload the chosen cluster
    + -          one worker more, one fewer
    arrows, Tab  choose another cluster
    """
    from launcher.cli.monit import screen

    with contextlib.ExitStack() as stack:
        home = Home.open_existing()
        if home:
            stack.enter_context(home)
        if name is not None and (home is None or home.entry(require_name(name)) is None):
            raise no_such_cluster(name, home.names() if home else [])
        if not once:
            return screen.live(home, name)
        found = screen.once(home, name, width())
    silent = [facts.silence for facts in found if name and facts.silence]
    for why in silent:
        complain(why)
    return int(bool(silent))
