"""``python background.py … run OPTIONS``: a cluster whose logs are in files, yet a child of ours.

``start`` would detach it; so a test can wait for its end like for one in the
foreground. What comes before ``run`` is `Cluster`'s own command, for which this
stands in as a prefix.
"""

from __future__ import annotations

import dataclasses
import sys

from launcher.cli import main
from launcher.config.settings import Settings
from launcher.primary import main as primary
from launcher.state.cluster_folder import ClusterFolder

_serve = primary.serve


def serve(settings: Settings, folder: ClusterFolder) -> int:
    """As the primary's, with its logs in files."""
    return _serve(dataclasses.replace(settings, log_to_files=True), folder)


if __name__ == "__main__":
    primary.serve = serve  # type: ignore[assignment]
    sys.exit(main(sys.argv[sys.argv.index("run") :]))
