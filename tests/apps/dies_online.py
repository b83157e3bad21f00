"""An app that kills its worker just after it came online. Each leaves a line in COUNT_FILE."""

from __future__ import annotations

import importlib
import os
import threading
import time

app = importlib.import_module("echo").app


def die_soon() -> None:
    log = os.open(os.environ["COUNT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{time.monotonic()}\n".encode())
    threading.Timer(0.05, os._exit, (6,)).start()


os.register_at_fork(after_in_child=die_soon)
