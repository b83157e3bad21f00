"""gunicorn's configuration: what becomes of a new worker stands in the file $MOOD."""

import os
import time
from pathlib import Path
from typing import Any

mood = Path(os.environ["MOOD"])


def pre_fork(server: Any, worker: Any) -> None:
    while mood.read_text() == "stuck":
        time.sleep(0.01)


def post_fork(server: Any, worker: Any) -> None:
    if mood.read_text() == "die":
        os._exit(7)
    while mood.read_text() == "hang":
        time.sleep(0.01)
