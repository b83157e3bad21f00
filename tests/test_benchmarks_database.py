"""The PostgreSQL that the benchmarks start for themselves."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import postgres, scenarios
from benchmarks import toolbox as tools
from tests.support import ROOT, alive, eventually

PROGRAM = tools.program("postgres")

needs_postgres = pytest.mark.skipif(not PROGRAM, reason="apt-get install postgresql")
needs_sqlalchemy = pytest.mark.skipif(
    not (importlib.util.find_spec("sqlalchemy") and importlib.util.find_spec("psycopg")),
    reason="pip install sqlalchemy 'psycopg[binary]'",
)


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Database]:
    assert PROGRAM
    with postgres.Database(PROGRAM.resolve().parent) as made:
        yield made


def test_what_a_scenario_lacks_is_said() -> None:
    needs = scenarios.BY_KEY["database-1ms"].needs
    there = {"postgres": "15", "psycopg": "3", "sqlalchemy": "2"}
    box = tools.Toolbox(ROOT, Path("p"), Path("p"), Path("n"), {"flask": "3"}, there)
    assert box.missing(needs) == []
    # The program is the machine's; the packages are those of the launcher's own environment.
    assert box.missing(needs, ours=True) == ["sqlalchemy", "psycopg"]
    assert tools.hint("postgres") == "apt-get install postgresql"


def test_without_postgres_a_scenario_fails_with_a_word() -> None:
    with (
        pytest.raises(OSError, match="PostgreSQL is not installed"),
        postgres.Database(None) as made,
        made.running(),
    ):
        pass


@pytest.mark.slow
@needs_postgres
def test_a_database_answers_and_leaves_nothing_behind() -> None:
    assert PROGRAM
    with postgres.Database(PROGRAM.resolve().parent) as made:
        for _ in range(2):
            with made.running() as url:
                folder = Path(url.partition("host=")[2].replace("%2F", "/"))
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(folder / ".s.PGSQL.5432"))
                pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
                assert alive(pid)
            assert not alive(pid)
            assert folder.exists()  # with the data, for the next time
    assert not folder.exists()


@pytest.mark.slow
@needs_postgres
def test_a_database_that_does_not_start_says_why(database: postgres.Database) -> None:
    with database.running() as url:
        folder = Path(url.partition("host=")[2].replace("%2F", "/"))
    settings = folder / "data" / "postgresql.conf"
    before = settings.read_text()
    settings.write_text(f"{before}port = nowhere\n")
    with pytest.raises(postgres.DatabaseError, match="nowhere"), database.running():
        pass
    settings.write_text(before)
    with database.running():
        pass


def test_a_folder_that_other_users_can_get_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = postgres.open_to_all()
    assert found != tmp_path
    assert found.stat().st_mode & 0o001


HOLDER = """
import sys
from pathlib import Path
from benchmarks.postgres import Database
with Database(Path(sys.argv[1])) as made, made.running() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@needs_postgres
def test_a_database_ends_with_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    assert PROGRAM
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(PROGRAM.resolve().parent)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout
        url = holder.stdout.readline().strip()
        folder = Path(url.partition("host=")[2].replace("%2F", "/"))
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        holder.send_signal(signal.SIGKILL)
    eventually(lambda: not alive(pid))
    shutil.rmtree(folder)


@needs_postgres
@needs_sqlalchemy
def test_a_row_by_key(database: postgres.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.servers import database as app

    with database.running() as url:
        monkeypatch.setitem(os.environ, "BENCHMARK_DATABASE", url)
        made = app.create_app()
        client = made.test_client()
        assert client.get("/items/1/after/0").text == "item 1"
        assert client.get(f"/items/{postgres.ROWS}/after/1").text == f"item {postgres.ROWS}"
        made.extensions["engine"].dispose()
