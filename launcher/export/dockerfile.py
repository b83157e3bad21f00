"""A Dockerfile for the project of a cluster."""

import json
from collections.abc import Sequence

from launcher.errors import UsageError
from launcher.export.containers import HOME, USER, command, ports
from launcher.export.terms import Cluster, File, Wishes

__all__ = ["export"]

TEXT = """\
FROM {base}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LAUNCHER_HOME={home}
WORKDIR /app
{requirements}COPY . .
# It has to be among the requirements, or in this folder: better told now than at the start.
RUN python -m launcher --version
USER {user}
EXPOSE {ports}
# The exec form: the launcher is PID 1, and TERM reaches it.
CMD {command}
"""

REQUIREMENTS = """\
# Before the rest, so that a change of the code does not install them anew.
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
"""


def export(clusters: Sequence[Cluster], wishes: Wishes) -> list[File]:
    """``Dockerfile``. UsageError for more than one cluster: an image has one command."""
    if len(clusters) > 1:
        names = ", ".join(cluster.name for cluster in clusters)
        raise UsageError(f"an image starts one cluster: name it: {names}")
    (cluster,) = clusters
    text = TEXT.format(
        base=wishes.image or f"python:{wishes.python_version}-slim",
        home=HOME,
        requirements=REQUIREMENTS if wishes.requirements else "",
        user=wishes.user or USER,
        ports=" ".join(map(str, ports(cluster))),
        command=json.dumps(command(cluster)),
    )
    return [File("Dockerfile", text)]
