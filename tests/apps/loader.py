"""An app that is safe to fork; tells which process loaded it and what it sees."""

from __future__ import annotations

import importlib
import os

from flask import Flask

app: Flask = importlib.import_module("echo").app

LOADED_BY = os.getpid()


@app.get("/loaded-by")
def loaded_by() -> dict[str, int]:
    return {"loaded_by": LOADED_BY, "pid": os.getpid()}


@app.get("/environment")
def environment() -> dict[str, str]:
    return dict(os.environ)
