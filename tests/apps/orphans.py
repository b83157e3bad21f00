"""An app that leaves a process behind whose parent is gone."""

from __future__ import annotations

import importlib
import subprocess

from flask import Flask

app: Flask = importlib.import_module("echo").app


@app.get("/orphan")
def orphan() -> str:
    subprocess.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"], check=True)
    return "left one behind"
