"""``save`` and ``resurrect``: the running set, now and after the machine has started again."""

from contextlib import closing
from typing import TYPE_CHECKING

import click

from launcher.cli.root import version
from launcher.cli.text import complain
from launcher.errors import LauncherError
from launcher.home import Home

if TYPE_CHECKING:
    from launcher.settings import Settings

__all__ = ["resurrect", "save"]


@click.command(epilog="Example: python -m launcher save")
@click.option("--force", is_flag=True, help="Save the set even when nothing runs.")
@version
def save(force: bool) -> int:
    """Remember which clusters run, with how many workers, for resurrect.

    Settings are saved, the values of variables are not.
    """
    from launcher.saved import write

    with closing(Home.open()) as home:
        running = [settings for name in home.names() if (settings := _running(home, name))]
        if not running and not force:
            raise LauncherError("no cluster is running: nothing saved (--force saves that)")
        write(home, running)
    names = ", ".join(settings.name for settings in running)
    click.echo(f"saved {len(running)} cluster{'s' * (len(running) != 1)}{names and ': '}{names}")
    return 0


@click.command(epilog="Example, as at the start of the machine: python -m launcher resurrect")
@version
def resurrect() -> int:
    """Start the clusters of the saved set that do not run.

    With the variables of this shell, env and env_file of their configuration.
    """
    from launcher.cli.start import start_all
    from launcher.saved import read

    home = Home.open_existing()
    if home is None:
        raise LauncherError("nothing was saved: python -m launcher save")
    with closing(home):
        clusters, problems = read(home)
        for problem in problems:
            complain(problem)
        if not clusters:
            raise LauncherError("the saved set is empty: nothing to do")
        missing = [settings for settings in clusters if not _runs(home, settings.name)]
        if not missing:
            raise LauncherError("all clusters of the saved set run already: nothing to do")
        return start_all(home, missing)


def _runs(home: Home, name: str) -> bool:
    entry = home.entry(name)
    return entry is not None and entry.running


def _running(home: Home, name: str) -> "Settings | None":
    """The settings of a cluster, if it runs."""
    from launcher.cli.kept import kept_settings

    entry = home.entry(name)
    if entry is None or not entry.running:
        return None
    settings = kept_settings(home, entry)
    if settings is None:
        raise LauncherError(f"cluster {name!r} runs, but its app.json cannot be read")
    return settings
