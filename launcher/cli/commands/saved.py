"""``save`` and ``resurrect``: the running set, now and after the machine has started again."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from launcher.cli.options import version
from launcher.cli.text import complain
from launcher.errors import LauncherError, NothingToDo
from launcher.state.home import Home

if TYPE_CHECKING:
    from launcher.config.settings import Settings

__all__ = ["resurrect", "save"]


@click.command(epilog="Example: python -m launcher save")
@click.option("--force", is_flag=True, help="Save the set even when nothing runs.")
@version
def save(force: bool) -> int:
    """Remember which clusters run, with how many workers, for resurrect.

    Settings are saved, the values of variables are not.
    """
    from launcher.state.saved import write

    with closing(Home.open_existing() or Home.open()) as home:
        running = [settings for name in home.names() if (settings := _running(home, name))]
        if not running and not force:
            raise LauncherError("no cluster is running: nothing saved (--force saves that)")
        variables = {each.name: home.variables(each.name) for each in running}
        write(home, running, variables)
    names = ", ".join(settings.name for settings in running)
    click.echo(f"saved {len(running)} cluster{'s' * (len(running) != 1)}{names and ': '}{names}")
    _tell_what_is_not_saved(running, variables)
    return 0


@click.command(epilog="Example, as at the start of the machine: python -m launcher resurrect")
@version
def resurrect() -> int:
    """Start the clusters of the saved set that do not run.

    With the variables of this shell, env and env_file of their configuration.
    """
    from launcher.cli.starting.together import start_all
    from launcher.state.saved import read

    home = Home.open_existing()
    if home is None:
        raise LauncherError("nothing was saved: python -m launcher save")
    with closing(home):
        saved = read(home)
        for problem in saved.problems:
            complain(problem)
        if not saved.clusters:
            raise NothingToDo("the saved set is empty")
        missing = [settings for settings in saved.clusters if not _runs(home, settings.name)]
        if not missing:
            raise NothingToDo("all clusters of the saved set run already")
        return start_all(home, missing, variables=saved.variables)


def _tell_what_is_not_saved(
    running: "Sequence[Settings]", variables: Mapping[str, Sequence[str]]
) -> None:
    from launcher.config.inherited import listed, not_kept

    names = {name for each in running for name in not_kept(variables[each.name], each)}
    names.discard("PYTHONPATH")  # where that is missing, the start fails and says why
    if names:
        complain(
            f"not saved: the values of {listed(sorted(names))}; resurrect takes them from its own"
            " shell: where they are not there, name a file that has them: --env-file FILE"
        )


def _runs(home: Home, name: str) -> bool:
    entry = home.entry(name)
    return entry is not None and entry.running


def _running(home: Home, name: str) -> "Settings | None":
    """The settings of a cluster, if it runs."""
    from launcher.cli.starting.kept import kept_settings

    entry = home.entry(name)
    if entry is None or not entry.running:
        return None
    settings = kept_settings(home, entry)
    if settings is None:
        raise LauncherError(f"cluster {name!r} runs, but its app.json cannot be read")
    return settings
