"""What lies in the app's folder and has no effect, though its user may think it has."""

import os
import sys

from launcher.cli.text import complain
from launcher.config.settings import Settings

__all__ = ["tell_overlooked"]

ENV_FILE = ".env"
ENVIRONMENTS = (".venv", "venv")


def tell_overlooked(settings: Settings) -> None:
    """Say on stderr, in a line each, what is not used and how it would be.

    A ``.env`` that is not read; with ``--chdir``, a virtual environment that this is not.
    """
    path = os.path.join(settings.chdir, ENV_FILE)
    if settings.env_file is None and os.path.isfile(path):
        how = f'env_file = "{ENV_FILE}"' if settings.config else f"--env-file {path}"
        complain(f"{path} is not read by the launcher: {how}")
    if "chdir" in settings.sources:
        for name in ENVIRONMENTS:
            _tell_other_environment(os.path.join(settings.chdir, name))


def _tell_other_environment(place: str) -> None:
    if os.path.isfile(os.path.join(place, "pyvenv.cfg")) and not _is_running(place):
        python = os.path.join(place, "bin", "python")
        complain(
            f"{place} is not used, this runs in {sys.prefix}: install the launcher there"
            f" and start with {python} -m launcher"
        )


def _is_running(place: str) -> bool:
    return os.path.realpath(place) == os.path.realpath(sys.prefix)
