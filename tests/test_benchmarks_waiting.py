"""The benchmarks of the app that waits, of the database, and of one copy against another."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app import create_app
from benchmarks import (
    campaign,
    comparison,
    figures,
    marks,
    peers,
    postgres,
    report,
    scenarios,
    waiting,
)
from benchmarks import toolbox as tools
from benchmarks.campaign import Results
from benchmarks.comparison import Ratio
from benchmarks.marks import Mark
from benchmarks.servers import webapp
from tests.support import ROOT, alive, eventually
from tests.test_benchmarks import MACHINE, command, needs_wrk


def summary_of(**by_peer: dict[str, float]) -> marks.Lookup:
    """Medians by peer, with _ for the - of its key, whatever the scenario."""
    known = {key.replace("_", "-"): found for key, found in by_peer.items()}
    return lambda _, peer: known.get(peer, {})


# Who is measured


def asked(scenario: str) -> list[str]:
    return [peer.key for peer in peers.PEERS if scenarios.BY_KEY[scenario].applies(peer)]


def test_an_app_that_waits_is_served_with_4_16_and_64_threads() -> None:
    with_threads = [f"{key}-{n}" for key in ("uwsgi", "granian") for n in (4, 16, 64)]
    gthreads = ["gthread", "gthread-16", "gthread-64"]
    flask = {"ours", "ours-4threads", *with_threads, *gthreads}
    assert set(asked("waits-3ms")) == {*flask, "node", "pm2"}
    assert set(asked("database-1ms")) == set(asked("computes")) == flask
    # Where nothing waits, each is as before.
    assert not {*with_threads, "ours-4threads", "gthread-16"} & set(asked("keepalive"))
    assert {"uwsgi", "granian", "gthread", "ours-1thread"} <= set(asked("keepalive"))
    assert set(peers.BY_KEY) == set(asked("mixed"))


def test_variants_are_told_their_threads(tmp_path: Path) -> None:
    box = tools.Toolbox(ROOT, Path("/v/bin/python"), Path("/p/bin/python"), tmp_path)
    setup = peers.Setup(box, 8123, tmp_path)
    for family, option in (("gthread", "threads"), ("uwsgi", "threads"), ("granian", "threads")):
        variants = [peers.BY_KEY[key] for key in peers.variants(family)]
        told = {
            peer.command(setup)[i + 1]
            for peer in variants
            if peer.waits
            for i, word in enumerate(peer.command(setup))
            if word.endswith(option)
        }
        assert told == {"4", "16", "64"}, family
    assert peers.variants("node") == ["node"]
    assert peers.variants("apache") == []


def test_a_variant_of_another_copy_is_asked_the_same(tmp_path: Path) -> None:
    contest = comparison.contest(peers.BY_KEY["ours"], tmp_path)
    assert contest.other.source == tmp_path
    assert contest.this.source is contest.again.source is None
    for scenario in scenarios.SCENARIOS:
        assert len({scenario.applies(peer) for peer in contest.peers}) == 1, scenario.key


def test_the_apps_are_this_copys_and_the_launcher_is_the_others(tmp_path: Path) -> None:
    """The other copy may be older, and have no such app."""
    other = tmp_path / "other"
    for package in ("launcher", "benchmarks", "app"):
        (other / package).mkdir(parents=True)
        (other / package / "__init__.py").write_text("")
    box = tools.Toolbox(other, Path(sys.executable), Path(sys.executable), tmp_path)
    environment = tools.server_environment(box, tmp_path)
    code = (
        "import launcher, app, benchmarks.servers.work as w; print(launcher.__file__, w.__file__)"
    )
    said = subprocess.check_output(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, text=True
    )
    launcher, work = said.split()
    assert Path(launcher).is_relative_to(other)
    assert Path(work).resolve().is_relative_to(ROOT)


# What is asked


def test_the_routes_wait_and_compute() -> None:
    client = webapp.create_app().test_client()
    for path, body in (
        ("/wait/1", "waited"),
        ("/think/10/wait/100", "waited"),
        ("/compute/4", "computed 6"),
    ):
        assert client.get(path).text == body
    assert client.get("/clustered").text == create_app().test_client().get("/clustered").text


def test_turns_of_the_loop_are_many_and_proportional() -> None:
    long, short = waiting.loops(20), waiting.loops(0.2)
    assert waiting.loops(20) == long  # measured once: all servers compute the same
    assert long > 10 * short > 1000


# What is shown


def test_the_best_of_a_server_counts() -> None:
    assert figures.best("rate", [1.0, None, 3.0]) == 3
    assert figures.best("p99_ms", [1.0, None, 3.0]) == 1
    assert figures.best("rate", [None]) is None


def test_ratios_are_to_the_best_variant() -> None:
    results = Results()
    for key, rate, cpu in (("ours", 80, 10), ("gthread", 20, 20), ("gthread-16", 40, 40)):
        results.samples["waits-3ms", key] = [{"rate": float(rate), "cpu_us": float(cpu)}]
    table = report.scenario_table(results, scenarios.BY_KEY["waits-3ms"], peers.PEERS)
    head, ours, *_ = table.splitlines()
    assert head.endswith("rate / gthread  CPU / gthread")
    assert ours.split()[-2:] == ["2.00", "0.50"]


@pytest.mark.parametrize(
    ("mark", "limit"),
    [
        (Mark("s", "cpu_us", marks.GTHREAD_BEST, 0.5), 50),
        (Mark("s", "rate", marks.GTHREAD_BEST, 2, least=True), 60),
        (Mark("s", "cpu_us", marks.GTHREAD_FASTEST), 200),
        (Mark("s", "cpu_us", "node"), 7),
        (Mark("s", "cpu_us", plus=8, subject="ours-4threads"), 8),
    ],
)
def test_marks_against_the_best_and_the_fastest(mark: Mark, limit: float) -> None:
    lookup = summary_of(
        ours={"cpu_us": 1.0, "rate": 1.0},
        ours_4threads={"cpu_us": 2.0},
        node={"cpu_us": 7.0},
        gthread={"cpu_us": 100.0, "rate": 10.0},
        gthread_64={"cpu_us": 200.0, "rate": 30.0},
    )
    (verdict,) = marks.judge(lookup, (mark,))
    assert verdict.limit == limit
    assert verdict.value == lookup("s", mark.subject)[mark.figure]


def test_a_mark_of_nobody_measured_is_not_judged() -> None:
    best = Mark("s", "cpu_us", marks.GTHREAD_BEST)
    assert marks.judge(summary_of(ours={"cpu_us": 1.0}), (best,)) == []
    assert best.text == "s cpu_us at most gthread's best"
    assert "of ours-4threads" in Mark("s", "rate", plus=1, subject="ours-4threads").text


# One copy against another


def test_pairs_alternate_and_the_other_copy_stands_in_the_middle(tmp_path: Path) -> None:
    contest = comparison.contest(peers.BY_KEY["ours"], tmp_path)
    cells = comparison.plan([scenarios.BY_KEY["keepalive"]], [contest], pairs=3)
    forth = ["ours", "ours@other", "ours@again"]
    assert [cell.peer.key for cell in cells] == [*forth, *reversed(forth), *forth]


def rounds(*values: float | None) -> list[figures.Figures]:
    return [{} if value is None else {"cpu_us": value} for value in values]


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    # The third pair failed, the fourth was cut short; the machine got slower all the while.
    found = comparison.ratio("cpu_us", rounds(11, 24, None, 90), rounds(10, 20, 30))
    assert found is not None
    assert found.median == pytest.approx(1.15)
    assert found.pairs == 2
    assert found.low < found.median < found.high
    assert comparison.ratio("cpu_us", rounds(11), rounds(10)) == Ratio(1.1, 1.1, 1.1, 1)
    assert comparison.ratio("cpu_us", rounds(None), rounds(10)) is None
    assert comparison.ratio("rate", rounds(11), rounds(10)) is None


@pytest.mark.parametrize(
    ("name", "median", "control", "said"),
    [
        ("cpu_us", 1.02, 1.0, "alike within 3%"),
        ("cpu_us", 1.2, 1.0, "WORSE"),
        ("rate", 1.2, 1.0, "better"),
        ("rate", 0.9, 0.99, "WORSE"),
        ("rate", 1.2, 1.1, "the control is off"),
        ("p50_ms", 1.2, 1.0, ""),
    ],
)
def test_verdicts_of_a_comparison(name: str, median: float, control: float, said: str) -> None:
    found, alone = (Ratio(value, value, value, 15) for value in (median, control))
    assert comparison.verdict(name, found, alone) == said


def test_a_comparison_is_written_down(tmp_path: Path) -> None:
    keepalive = scenarios.BY_KEY["keepalive"]
    contest = comparison.contest(peers.BY_KEY["ours"], tmp_path)
    results = Results()
    for peer, cost in zip(contest.peers, (90.0, 100.0, 90.0), strict=True):
        results.add(campaign.Cell(keepalive, peer), {"cpu_us": cost, "errors": 0.0})
    found = comparison.Comparison(results, [keepalive], [contest], MACHINE, tmp_path, 1, 5)
    (line,) = [line for line in found.text().splitlines() if line.startswith("CPU µs")]
    assert line.split()[2:5] == ["90", "100", "0.900"]
    assert line.endswith("better")
    written = found.write(tmp_path / "new")
    said = json.loads(written[0].read_text())
    assert said["ratios"]["keepalive"]["ours"]["cpu_us"]["ratio"]["median"] == 0.9
    assert said["samples"]["keepalive"]["ours@other"] == [{"cpu_us": 100.0, "errors": 0.0}]


def run(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, folder=folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pairs", "3"), "--pairs goes with --against"),
        (("--against", ".", "--rounds", "3"), "--against measures --pairs"),
        (("--against", "docs"), "there is no launcher in docs"),
        (("--against", ".", "--only", "ours,node"), "the launcher alone, not node"),
    ],
)
def test_options_of_a_comparison(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    done = run(arguments, tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@needs_wrk
def test_this_copy_against_itself(tmp_path: Path) -> None:
    options = ("--against", ".", "--pairs", "1", "--scenario", "startup")
    done = run(options, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "against.json").read_text())
    assert said["ratios"]["startup"]["ours"]["first_ms"]["ratio"]["pairs"] == 1
    assert "1 pairs of 5 s" in done.stdout


# The database

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


HOLDER = """
import sys
from pathlib import Path
from benchmarks.postgres import Database
with Database(Path(sys.argv[1])) as made, made.running() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


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
