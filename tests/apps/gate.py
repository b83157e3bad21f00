"""The app of echo.py, but it is loaded only once the file $GATE exists: a test says when."""

from __future__ import annotations

import importlib
import os
import time

app = importlib.import_module("echo").app

while not os.path.exists(os.environ["GATE"]):
    time.sleep(0.01)
