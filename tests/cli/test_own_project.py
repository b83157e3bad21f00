"""What is typed in a project of one's own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.tools import Console, Done
from tests.support import ROOT, eventually

FREE = ("-p", "0", "-w", "1")

ONE = """
[apps.shop]
app = "web:app"
port = 0
workers = 1
"""

FACTORY = """
import os
from web import app

def create_app():
    return app
"""


def run_and_stop(console: Console, name: str, *arguments: str) -> Done:
    """``run``, until it serves; then Ctrl-C. Gives what it has said."""
    process = console.popen("run", *arguments)
    try:
        eventually(lambda: console.list()[name]["status"] == "online", within=60)
        assert "id" in console.ask(name)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return Done(process.args, process.returncode, out, err)


def test_run_reads_the_file_of_the_folder(console: Console) -> None:
    console.write("cluster.toml", ONE)
    assert run_and_stop(console, "shop").returncode == 0
    assert run_and_stop(console, "shop", "shop").returncode == 0
    console.write("cluster.toml", ONE + '[apps.blog]\napp = "web:app"\nport = 0\n')
    line = console.refused("run", status=2)
    path = console.folder / "cluster.toml"
    assert line == f"{path} has several apps, and run is for one: shop, blog"


def test_an_app_by_its_module_alone(console: Console) -> None:
    console.write("shop.py", FACTORY)
    console.write("empty.py", "")
    console.ok("start", "web", *FREE)  # its app
    console.ok("start", "shop", *FREE)  # what create_app() gives
    assert "id" in console.ask("web")
    assert "id" in console.ask("shop")
    line = console.refused("start", "empty", *FREE)
    assert line == (
        "cannot load 'empty': 'empty' has neither app, application nor create_app():"
        " say which is its app: empty:NAME"
    )
    line = console.refused("start", "-n", "typo", "shop:creat_app()", *FREE)
    assert line.endswith(
        "Failed to find attribute 'creat_app' in 'shop'. Did you mean create_app()?"
    )


def test_what_lies_there_and_is_not_used(console: Console) -> None:
    (console.folder / "sub" / ".venv").mkdir(parents=True)
    (console.folder / "sub" / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (console.folder / "sub" / ".env").write_text("FROM_FILE=1\n")
    (console.folder / "sub" / "web.py").write_text((console.folder / "web.py").read_text())
    place = console.folder / "sub"
    done = console("start", "web", *FREE, "--chdir", "sub")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"launcher: {place}/.env is not read by the launcher: --env-file {place}/.env",
        f"launcher: {place}/.venv is not used, this runs in {sys.prefix}: install the launcher"
        f" there and start with {place}/.venv/bin/python -m launcher",
    ]
    console.ok("delete", "web")
    (place / ".venv" / "pyvenv.cfg").unlink()
    # Beside the app, not here.
    console.ok("start", "web", *FREE, "--chdir", "sub", "--env-file", ".env")
    assert console.ask("web", "FROM_FILE")["FROM_FILE"] == "1"
    line = console.refused("start", "-n", "other", "web", "--chdir", "sub", "--env-file", "no.env")
    assert line == f"--env-file: 'no.env' is neither in {console.folder} nor in {place}"


ELSEWHERE = """
eval "$(cd {root} && {python} -m launcher completion bash)"
cd {place}
COMPREPLY=(); COMP_WORDS=(launcher rel); COMP_CWORD=1
_launcher_completion
echo "${{COMPREPLY[@]}}"
launcher --version
"""


def test_the_shell_completes_in_any_folder(console: Console, tmp_path: Path) -> None:
    """From a clone, which no other folder finds by itself."""
    environ = {key: value for key, value in console.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-c", ELSEWHERE.format(root=ROOT, python=sys.executable, place=tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    completed, version = done.stdout.splitlines()
    assert completed == "reload"
    assert version.startswith("launcher ")
