"""An app whose workers die the moment they are forked. Each leaves a line in COUNT_FILE."""

from __future__ import annotations

import importlib
import os
import time

app = importlib.import_module("echo").app


def die() -> None:
    log = os.open(os.environ["COUNT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{time.monotonic()}\n".encode())
    os._exit(5)


os.register_at_fork(after_in_child=die)
