"""The app of loader.py, which connects to the unix socket $PEER while it is loaded."""

from __future__ import annotations

import importlib
import os
import socket

app = importlib.import_module("loader").app

connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["PEER"])
