"""The app of loader.py, which starts a thread while it is loaded."""

from __future__ import annotations

import importlib
import threading

app = importlib.import_module("loader").app

threading.Thread(target=threading.Event().wait, name="metrics", daemon=True).start()
