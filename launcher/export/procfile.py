"""A Procfile, for Heroku and its like and for foreman and honcho.

Each line goes through a shell. The platform says in PORT where to listen.
"""

import os
import re
import shlex
from collections.abc import Sequence

from launcher.export.containers import flags_within
from launcher.export.terms import Cluster, File, Wishes, refuse_same_names

__all__ = ["export"]


def export(clusters: Sequence[Cluster], _wishes: Wishes) -> list[File]:
    """``Procfile``. A single cluster is called ``web``: only that gets requests on Heroku."""
    refuse_same_names(clusters, _process_type)
    single = len(clusters) == 1
    lines = [
        f"{'web' if single else _process_type(cluster.name)}: {_command(cluster)}\n"
        for cluster in clusters
    ]
    return [File("Procfile", "".join(lines))]


def _process_type(name: str) -> str:
    """Letters, digits, dashes and underscores, as foreman and honcho read them."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _command(cluster: Cluster) -> str:
    """``exec``: what is sent TERM is the launcher and no shell."""
    settings = cluster.settings
    words = ["exec", "python", "-m", "launcher", "run"]
    if settings.config:
        words += ["--config", os.path.basename(settings.config), cluster.name]
        words += cluster.flags_beside_its_file({"bind"})
    else:
        words += [settings.app, "--name", cluster.name, *flags_within(cluster, {"bind"})]
    port = next((each.port for each in cluster.addresses if each.port), 8000)
    # Not among the quoted words: it is for the shell.
    return f'{shlex.join(words)} --bind "0.0.0.0:${{PORT:-{port}}}"'
