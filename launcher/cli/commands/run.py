"""``run``: a cluster in the foreground."""

import os
from typing import Any

import click

from launcher.cli.commands import COMMANDS, IMPLICIT_RUN
from launcher.cli.options import settings_options, tell_strays, version
from launcher.cli.text import complain
from launcher.errors import UsageError

__all__ = ["run"]


@click.command(
    epilog="Every option can also be set as a variable: LAUNCHER_WORKERS=4 for --workers 4.\n\n"
    "Example: python -m launcher run myapp:app --workers 4 --bind :8000"
)
@click.argument("app", metavar="[APP]", required=False)
@settings_options
@version
@click.pass_context
def run(context: click.Context, /, app: str | None, **flags: Any) -> int:
    """Serve APP on every core, in the foreground, until Ctrl-C or TERM.

    APP is module:attribute or module:factory(), as for gunicorn; of a module
    alone: its app, application or create_app(). Or the name of an app in the
    cluster.toml of this folder; without APP, the one that is in it, else
    app:create_app(). With --config only names of that file. Where the variable
    PORT is set, listens on 0.0.0.0:$PORT.
    """
    if context.meta.get(IMPLICIT_RUN) and app:
        command = app if app in COMMANDS else f"run {app}"
        raise UsageError(f"the command comes first: python -m launcher {command} ...")
    from launcher.cli.starting.overlooked import tell_overlooked
    from launcher.cli.starting.plan import plan_for_run
    from launcher.state.foreground import claimed

    tell_strays(os.environ)
    settings = plan_for_run(app, flags, os.environ)
    tell_overlooked(settings)
    with claimed(settings.name) as (folder, problem):
        if problem:
            complain(problem)
        from launcher.primary.main import serve  # last: what is wrong so far is told at once

        return serve(settings, folder)
