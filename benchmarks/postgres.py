"""A PostgreSQL of the benchmark's own: made when it is first wanted, run while it is asked.

It listens on a unix socket in its own folder and nowhere else, so that it meets no other one
of the machine. It refuses to run as root (its manual, 19.1): root's runs as another user.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from benchmarks import accounting
from benchmarks.server import end_with_parent

ROWS = 1000
"""In its one table, with keys from 1."""

CONNECTIONS = 300
"""More than all threads of all workers of any server here."""

START_LIMIT = 30.0
STOP_LIMIT = 10.0

SETTINGS = {
    "listen_addresses": "",
    "max_connections": str(CONNECTIONS),
    # Nothing is written, and nothing shall be done beside the queries.
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
}

TABLE = f"""\
CREATE TABLE item AS SELECT id, 'item ' || id AS name FROM generate_series(1, {ROWS}) AS id;
ALTER TABLE item ADD PRIMARY KEY (id);
VACUUM ANALYZE item;
"""
"""One statement a line: PostgreSQL's single-user mode wants it so."""

INITDB = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

USERS = ("postgres", "nobody")
"""Whom root runs it as: the first that there is."""


class DatabaseError(OSError):
    """It cannot be made or started; carries what it said."""


class Database:
    """A context manager: its processes and its folder are gone after it."""

    def __init__(self, binaries: Path | None) -> None:
        """``binaries``: the folder of ``initdb`` and ``postgres``; None where they are missing."""
        self._binaries = binaries
        self._folder: Path | None = None
        """None until it is made."""
        self._pid: int | None = None
        """Of its first process, while it runs."""

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Started, and asked under the URL that SQLAlchemy takes, until it is left.

        DatabaseError when it cannot be made or started.
        """
        folder = self._folder or self._make()
        log = folder / "log"
        with log.open("wb") as output:
            server = self._start("postgres", "-D", str(folder / "data"), output=output)
        self._pid = server.pid
        try:
            self._wait_until_ready(server, log)
            yield f"postgresql+psycopg://postgres@/postgres?host={quote(str(folder))}"
        finally:
            # "Fast shutdown": sessions are cut off, and the next start has nothing to recover.
            self._pid = None
            _end(server, signal.SIGINT)

    def cpu_seconds(self) -> float:
        """Used by all its processes until now; 0 where it does not run."""
        return accounting.cpu_seconds(accounting.family(self._pid)) if self._pid else 0.0

    def _make(self) -> Path:
        """Its folder with the data, a second's work."""
        user = other_user()
        place = open_to_all() if user else None
        folder = self._folder = Path(tempfile.mkdtemp(prefix="benchmarks-postgres-", dir=place))
        data = str(folder / "data")
        try:
            if user:
                os.chown(folder, user.pw_uid, user.pw_gid)
            self._run("initdb", "-D", data, *INITDB)
            told = {**SETTINGS, "unix_socket_directories": str(folder)}
            with (folder / "data" / "postgresql.conf").open("a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in told.items())
            self._run("postgres", "--single", "-D", data, "postgres", given=TABLE)
        except BaseException:
            self._forget()
            raise
        return folder

    def _wait_until_ready(self, server: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_LIMIT
        asked = ("-q", "-h", str(log.parent), "-U", "postgres")
        while self._start("pg_isready", *asked).wait(START_LIMIT):
            if server.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-500:].strip()
                raise DatabaseError(f"PostgreSQL does not start: {tail}")
            time.sleep(0.02)

    def _run(self, program: str, *arguments: str, given: str = "") -> None:
        """One of its programs, to its end."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
            source.write(given.encode())
            source.seek(0)
            process = self._start(program, *arguments, source=source, output=output)
            try:
                process.wait(START_LIMIT)
            finally:
                _end(process, signal.SIGQUIT)
            output.seek(0)
            said = output.read().decode(errors="replace")
        # A statement that fails does not end the single-user mode: it only says so.
        if process.returncode or "ERROR:" in said:
            raise DatabaseError(f"{program} failed: {said[-500:].strip()}")

    def _start(
        self,
        program: str,
        *arguments: str,
        source: IO[bytes] | int = subprocess.DEVNULL,
        output: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        if self._binaries is None:
            raise DatabaseError("PostgreSQL is not installed")
        user = other_user()
        return subprocess.Popen(
            [str(self._binaries / program), *arguments],
            cwd=self._folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            # Runs after the change of user, which would take it back (prctl(2)).
            preexec_fn=functools.partial(end_with_parent, signal.SIGQUIT),
        )


def other_user() -> pwd.struct_passwd | None:
    """Whom it runs as; None: as this process does."""
    if os.geteuid():
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseError(f"PostgreSQL does not run as root, and there is no user {USERS}")


def open_to_all() -> Path:
    """A folder for temporary files that another user can get to: root's own may be closed."""
    for folder in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp")):
        above = (folder, *folder.parents)
        if folder.is_dir() and all(each.stat().st_mode & stat.S_IXOTH for each in above):
            return folder
    raise DatabaseError("no folder for temporary files that PostgreSQL's user can get to")


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Its other processes notice by themselves when the first one is gone."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
