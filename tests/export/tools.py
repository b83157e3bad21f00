"""Clusters to export, with names and texts that mean something to one engine or another."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.cli.commands.run import run
from launcher.cli.starting.plan import plan_for_run
from launcher.config.resolve import resolve
from launcher.config.settings import Settings
from launcher.export.terms import Cluster, File, Wishes

ODD_APP = (
    "shop:make('a  b', \"c\", 100%, %h, %%, $HOME, ${HOME}, $(HOME), $$, `id`, \\, \\n, ; , #{x}"
    ", é, 😀, {}, [0], <&>, *, ~, !x)"
)
"""Blanks, quotes, and what is special to systemd, shells, Compose, Kubernetes, YAML or Docker."""

ODD_FOLDER = 'it\'s "my" 100% $HOME (shop) %h;#{x} é😀 \\x'

STATUS = "0.0.0.0:9000"

CANARY = "canary-2d1c"


def cluster(folder: Path, app: str = "shop:app", **options: Any) -> Cluster:
    """A cluster as it would be with these options, and with a status address."""
    of_files, of_shell = options.pop("of_files", ()), options.pop("of_shell", ())
    flags = {"app": app, "name": "shop", "chdir": str(folder), "status_bind": STATUS, **options}
    settings = resolve(flags, {})
    return Cluster(
        settings,
        start_within=2 * settings.boot_timeout + 10,
        of_files=of_files,
        of_shell=of_shell,
    )


def settings_of(words: list[str]) -> Settings:
    """The settings that the launcher would have, started with these words after ``run``."""
    with run.make_context("run", list(words)) as context:
        return plan_for_run(context.params.pop("app"), context.params, {"PWD": os.getcwd()})


def text_of(files: list[File], name: str) -> str:
    """The file of that name."""
    return next(file.text for file in files if file.name == name)


def wishes(**options: Any) -> Wishes:
    """What the command would say, on a machine with an interpreter of an odd name."""
    return Wishes(**{"python": "/srv/a b$/bin/python", **options})


@contextlib.contextmanager
def answering(status: int, host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """The port of a server that answers ``/readyz`` with this status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def needs(*modules: str) -> list[Any]:
    """These modules; the test is skipped where one is missing."""
    return [pytest.importorskip(name, reason=f"{name} is not installed") for name in modules]
