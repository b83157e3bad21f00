"""What is installed on this machine, and how to get what is not. Installs nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent

PIP_NAMES = (
    *("flask", "gunicorn", "gunicorn_h1c", "httptools", "uwsgi", "granian", "bjoern"),
    *("sqlalchemy", "psycopg"),
)
NPM_NAMES = ("express", "pm2")
PROGRAMS = ("wrk", "node", "taskset", "postgres")

POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian has PostgreSQL, in a folder for each version, and none of it on PATH."""

HINTS = {
    "wrk": "apt-get install wrk",
    "taskset": "apt-get install util-linux",
    "node": "apt-get install nodejs npm",
    "express": "npm install express  (in a folder of your choice: --node-modules FOLDER)",
    "pm2": "npm install pm2  (in a folder of your choice: --node-modules FOLDER)",
    "bjoern": "apt-get install libev-dev && pip install bjoern  (in the venv of --peers-dir)",
    "flask": "pip install -r requirements.txt  (in the venv of --peers-dir)",
    "postgres": "apt-get install postgresql",
    "psycopg": "pip install 'psycopg[binary]'  (in the venvs of --python and --peers-dir)",
    "sqlalchemy": "pip install sqlalchemy  (in the venvs of --python and --peers-dir)",
}

_ASK_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Toolbox:
    """Where the interpreters and programs are, and which version of what they have."""

    source: Path
    """The working copy with the launcher and the reference app."""
    python: Path
    """Runs the launcher."""
    peers_python: Path
    """Runs the Python peers."""
    node_modules: Path
    ours: dict[str, str] = field(default_factory=dict)
    """Versions in the environment of ``python``."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions in the environment of ``peers_python``, of node modules and programs."""

    def missing(self, needs: tuple[str, ...], ours: bool = False) -> list[str]:
        """Those of ``needs`` that are not there; packages in the launcher's environment if ours."""
        there = set(self.versions)
        if ours:
            there = (there - set(PIP_NAMES)) | set(self.ours)
        return [name for name in needs if name not in there]


def hint(name: str) -> str:
    """How to get it."""
    return HINTS.get(name, f"pip install {name}  (in the venv of --peers-dir)")


def discover(
    source: Path | None = None,
    python: Path | None = None,
    peers_dir: Path | None = None,
    node_modules: Path | None = None,
) -> Toolbox:
    """Look around. What is not given is this copy, this interpreter, ./node_modules."""
    own = python.absolute() if python else Path(sys.executable)
    peers = interpreter_in(peers_dir) if peers_dir else own
    modules = node_modules or Path.cwd()
    if (modules / "node_modules").is_dir():
        modules /= "node_modules"
    return Toolbox(
        source=(source or ROOT).absolute(),
        python=own,
        peers_python=peers,
        node_modules=modules.absolute(),
        ours=python_versions(own),
        versions={
            **python_versions(peers),
            **npm_versions(modules),
            **program_versions(),
        },
    )


def interpreter_in(folder: Path) -> Path:
    """The interpreter of a virtual environment; not resolved, or it would be outside of it."""
    return folder.absolute() / "bin" / "python"


def python_versions(python: Path) -> dict[str, str]:
    """What an interpreter's environment has, of what matters here."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK_VERSIONS, *PIP_NAMES],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def npm_versions(node_modules: Path) -> dict[str, str]:
    """What a node_modules folder has."""
    manifests = {name: node_modules / name / "package.json" for name in NPM_NAMES}
    return {
        name: json.loads(path.read_text())["version"]
        for name, path in manifests.items()
        if path.is_file()
    }


def program_versions() -> dict[str, str]:
    """The programs on PATH. wrk says its version only together with its usage."""
    flags = {"wrk": "-v"}
    found = {}
    for name in PROGRAMS:
        if path := program(name):
            found[name] = _first_line([str(path), flags.get(name, "--version")])
    return found


def program(name: str) -> Path | None:
    """Where it is. Of several versions of PostgreSQL the newest."""
    if found := shutil.which(name):
        return Path(found)
    if name == "postgres":
        versions = [path for path in POSTGRES.glob("*/bin/postgres") if path.is_file()]
        return max(versions, key=lambda path: float(path.parts[-3]), default=None)
    return None


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    line = (done.stdout or done.stderr).partition("\n")[0]
    return line.partition(" Copyright")[0]


def server_environment(tools: Toolbox, common: Path) -> dict[str, str]:
    """Every server's: nothing that would configure one of them by chance.

    Bytecode is kept in ``common``, also where this process may write none: a server
    that compiles its modules at every start would look slower than it is.
    """
    ours = ("LAUNCHER_", "GUNICORN_", "GRANIAN_", "UWSGI_", "PM2_", "NODE_", "PYTHON", "PG")
    plain = {"PORT", "WEB_CONCURRENCY", "NOTIFY_SOCKET", "LISTEN_FDS"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in plain}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(map(str, (_own_apps(common), tools.source))),
        "PYTHONPYCACHEPREFIX": str(common / "pycache"),
        "NODE_PATH": str(tools.node_modules),
        "NODE_ENV": "production",
    }


def _own_apps(common: Path) -> Path:
    """A folder with nothing but this package, for its apps.

    It comes before the working copy that is measured: that one's apps may be older ones.
    """
    folder = common / "path"
    if not folder.is_dir():
        folder.mkdir()
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    return folder
