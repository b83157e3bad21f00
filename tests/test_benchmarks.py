"""The machinery of ``python -m benchmarks``. No test asserts a speed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    accounting,
    bench,
    campaign,
    chart,
    load,
    marks,
    peers,
    probe,
    report,
    scenarios,
)
from benchmarks import strict as strict_client
from benchmarks import toolbox as tools
from benchmarks.campaign import Results
from benchmarks.machine import Machine, cpu_model
from benchmarks.marks import Mark
from tests.support import ROOT, alive, eventually

SAID = (
    '{"requests": 12000, "duration_us": 3000000, "bytes": 5, "p50_us": 1500, "p90_us": 2000, '
    '"p99_us": 9000, "p999_us": 12500, "max_us": 20000, "connect": 1, "read": 2, "write": 3, '
    '"status": 4, "timeout": 5}'
)

MACHINE = Machine(
    cpu="A <fast> CPU",
    cores=2,
    memory_gib=4.0,
    kernel="Linux 6",
    system="Debian",
    date="2026-01-01 00:00 UTC",
    load=0.0,
    launcher={"python": "3.11.7"},
    peers={"granian": "2.0", "wrk": "wrk 4.1"},
)


# wrk


def test_what_wrk_said_is_understood() -> None:
    outcome = load.parse(f"Running 3s test\n  2 threads\n\nJSON {SAID}\n")
    assert outcome == load.Outcome(
        requests=12000,
        seconds=3.0,
        p50=1.5,
        p90=2.0,
        p99=9.0,
        p999=12.5,
        longest=20.0,
        errors=load.Errors(connect=1, read=2, write=3, status=4, timeout=5),
    )
    assert outcome.rate == 4000
    assert outcome.errors.total == 15


def test_wrk_that_fails_is_an_error_with_its_words() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_command_line_of_wrk() -> None:
    plain = load.Load(headers=load.CLOSE).command(8000, 5)
    assert plain[:5] == ["wrk", "-t2", "-c64", "-d5s", "--timeout=2s"]
    assert plain[5:7] == ["-H", "Connection: close"]
    assert plain[-1] == "http://127.0.0.1:8000/clustered"
    assert load.Load(turns=("/a", "/b")).command(8000, 5)[-3:] == ["--", "/a", "/b"]


def test_a_browser_sends_twelve_fields_with_host() -> None:
    names = [line.partition(":")[0].lower() for line in load.BROWSER]
    assert len({*names, "host"}) == len(names) + 1 == 12
    assert "cookie" in names


# /proc


def stat_line(pid: int, parent: int, ticks: tuple[int, int, int, int], **more: Any) -> str:
    user, system, children_user, children_system = ticks
    name, state = more.get("name", "python"), more.get("state", "S")
    session = more.get("session", 1)
    return (
        f"{pid} ({name}) {state} {parent} 1 {session} 0 -1 4194304 100 0 0 0 "
        f"{user} {system} {children_user} {children_system} 20 0 1 0 {more.get('started', 777)} 0\n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Callable[..., Path]:
    """``proc(line, …)``: a /proc with a process for each stat line."""

    def make(*lines: str) -> Path:
        for line in lines:
            folder = tmp_path / line.split()[0]
            folder.mkdir()
            (folder / "stat").write_text(line)
            pss = "Rss: 9000 kB\nPss:    2048 kB\nPss_Dirty: 1 kB\n"
            (folder / "smaps_rollup").write_text(f"55d0-7ffe [rollup]\n{pss}")
        (tmp_path / "self").mkdir()
        return tmp_path

    return make


def test_a_name_may_hold_spaces_and_parentheses() -> None:
    stat = accounting.parse_stat(stat_line(42, 7, (10, 5, 3, 2), name="a) S 1 (b", session=9))
    assert stat == accounting.Stat(42, "S", parent=7, session=9, ticks=20, started=777)
    assert stat.alive
    assert not accounting.parse_stat(stat_line(42, 7, (0, 0, 0, 0), state="Z")).alive


def test_a_family_is_all_descendants_and_all_of_the_session(proc: Callable[..., Path]) -> None:
    folder = proc(
        stat_line(10, 1, (0, 0, 0, 0), session=10),
        stat_line(11, 10, (0, 0, 0, 0), session=10),
        stat_line(12, 11, (0, 0, 0, 0), session=12),  # left the session
        stat_line(13, 1, (0, 0, 0, 0), session=10),  # its parent has died
        stat_line(14, 1, (0, 0, 0, 0), session=14),
    )
    assert sorted(stat.pid for stat in accounting.family(10, folder)) == [10, 11, 12, 13]
    assert accounting.family(99, folder) == []


def test_time_of_exited_children_is_counted_once() -> None:
    """A worker with 30 ticks ends: they move to its parent, and the sum stays."""
    master, worker = stat_line(10, 1, (5, 5, 0, 0)), stat_line(11, 10, (20, 10, 0, 0))
    after = stat_line(10, 1, (5, 5, 20, 10))
    both = accounting.cpu_seconds(map(accounting.parse_stat, (master, worker)))
    assert both == accounting.cpu_seconds([accounting.parse_stat(after)])
    assert both == 40 / os.sysconf("SC_CLK_TCK")


def test_memory_is_the_sum_of_pss(proc: Callable[..., Path]) -> None:
    folder = proc(stat_line(10, 1, (0, 0, 0, 0)), stat_line(11, 10, (0, 0, 0, 0)))
    processes = [*accounting.family(10, folder), accounting.Stat(99, "S", 1, 1, 0, 0)]
    assert accounting.memory(processes, folder) == 2 * 2048 * 1024
    assert accounting.parse_pss("no such line") == 0


def test_this_process_is_accounted_for() -> None:
    own = accounting.stat(os.getpid())
    assert own is not None
    assert own.parent == os.getppid()
    assert os.getpid() in {stat.pid for stat in accounting.family(os.getpid())}
    assert accounting.exact_cpu_seconds(os.getpid()) > 0
    assert accounting.memory([own]) > 0
    assert accounting.stat(2**22 + 1) is None


# Rounds and medians


def test_rounds_are_interleaved() -> None:
    chosen = [scenarios.BY_KEY["keepalive"], scenarios.BY_KEY["kills"]]
    both = [peers.BY_KEY["ours"], peers.BY_KEY["bjoern"]]
    cells = campaign.plan(chosen, both, rounds=2)
    order = [(cell.scenario.key, cell.peer.key) for cell in cells]
    # bjoern replaces no worker, so that none of its workers is killed.
    assert order == [("keepalive", "ours"), ("keepalive", "bjoern"), ("kills", "ours")] * 2


def test_medians_and_worst() -> None:
    rounds = [
        {"cpu_us": 100.0, "errors": 0.0},
        {"cpu_us": 900.0, "errors": 0.0, "failed: x": 3.0},
        {"cpu_us": 110.0, "errors": 2.0},
    ]
    assert campaign.summary(rounds) == {"cpu_us": 110.0, "errors": 2.0, "failed: x": 3.0}
    assert campaign.summary([{"rate": 1.0}, {"rate": 2.0}]) == {"rate": 1.5}
    assert campaign.summary([]) == {}


def test_what_fails_is_noted_and_the_rest_goes_on() -> None:
    def measure(_: object, peer: peers.Peer) -> dict[str, float]:
        if peer.key == "bjoern":
            raise OSError("no bjoern")
        return {"rate": 1.0}

    scenario = bench.Scenario("s", "S", measure, ("rate",))
    results = Results()
    both = [peers.BY_KEY["bjoern"], peers.BY_KEY["ours"]]
    cells = campaign.plan([scenario], both, rounds=1)
    done = list(campaign.run(None, cells, results))  # type: ignore[arg-type]
    assert [figures for _, figures in done] == [None, {"rate": 1.0}]
    assert results.failures == ["s, bjoern: no bjoern"]
    assert results.summary("s", "ours") == {"rate": 1.0}


# What is shown


@pytest.fixture
def results() -> Results:
    found = Results()
    for peer, keepalive, close in (("ours", 100, 150), ("gthread", 280, 380), ("node", 96, 289)):
        figures = {"rate": 5000.0, "p99_ms": 20.0, "errors": 0.0}
        found.samples["keepalive", peer] = [{"cpu_us": float(keepalive), **figures}]
        found.samples["close", peer] = [{"cpu_us": float(close), **figures}]
    return found


@pytest.fixture
def run(results: Results) -> report.Run:
    chosen = [scenarios.BY_KEY["keepalive"], scenarios.BY_KEY["close"]]
    return report.Run(results, chosen, peers.PEERS, MACHINE, rounds=5, seconds=5)


def test_the_table_has_ratios_to_the_references(run: report.Run) -> None:
    lines = run.text().splitlines()
    heading = next(line for line in lines if line.startswith("Keep-alive"))
    ours = next(line for line in lines if line.startswith("launcher "))
    assert heading.split()[-4:] == ["/", "node", "/", "gthread"]
    assert ours.split()[-2:] == ["1.04", "0.36"]


def test_the_json_file_has_rounds_and_medians(run: report.Run) -> None:
    said = json.loads(run.json())
    assert said["machine"]["cpu"] == "A <fast> CPU"
    assert said["medians"]["close"]["ours"]["cpu_us"] == 150
    assert said["samples"]["close"]["ours"][0]["cpu_us"] == 150
    assert {"mark": "close cpu_us at most 0.6 x gthread", "met": True} in [
        {"mark": mark["mark"], "met": mark["met"]} for mark in said["marks"]
    ]


def test_the_chart_is_well_formed_and_begins_with_ours(run: report.Run, tmp_path: Path) -> None:
    written = run.write(tmp_path / "new")
    assert [path.name for path in written] == [
        *("results.json", "results.txt", "summary.md", "chart.svg")
    ]
    root = ET.fromstring(written[-1].read_text())
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("A <fast> CPU" in text for text in texts)
    names = [text for text in texts if text in {peer.name for peer in peers.PEERS}]
    assert names == ["launcher", "Node cluster + Express", "gunicorn gthread"]
    assert any(text.startswith("280 · 2.80") for text in texts)


def test_a_chart_of_one_scenario() -> None:
    results = Results({("keepalive", "node"): [{"cpu_us": 96.0}]})
    (filled,) = chart.filled(results.summary, peers.PEERS)
    assert filled.rows == (chart.Row("Node cluster + Express", False, (96.0, None)),)
    ET.fromstring(chart.draw([filled], MACHINE, ""))


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0"), (0.25, "0.25"), (12.34, "12.3"), (280.4, "280"), (12345.6, "12,346")],
)
def test_numbers(value: float | None, said: str) -> None:
    assert report.number(value) == said


def test_marks_are_judged_only_when_measured(results: Results) -> None:
    verdicts = marks.judge(results.summary)
    judged = {(v.mark.scenario, v.mark.figure, v.mark.reference): v.met for v in verdicts}
    assert judged["keepalive", "cpu_us", "gthread"]
    assert not judged["keepalive", "cpu_us", "node"]
    assert ("keepalive", "cpu_us", "bjoern") not in judged
    assert ("kills", "failed", "") not in judged


def test_kinds_of_marks() -> None:
    known = {"ours": {"rate": 10.0, "late": 3.0}, "node": {"rate": 11.0}}
    for mark, text, met in (
        (Mark("s", "rate", "node", least=True), "s rate at least node", False),
        (Mark("s", "rate", "node", 0.9, least=True), "s rate at least 0.9 x node", True),
        (Mark("s", "rate", "node", plus=-2), "s rate at most node + -2", False),
        (Mark("s", "late", plus=3), "s late at most 3", True),
        (Mark("s", "late", "ours", 0.2, base="rate"), "s late at most 0.2 x ours's rate", False),
    ):
        (verdict,) = marks.judge(lambda _, peer: known.get(peer, {}), (mark,))
        assert mark.text == text
        assert verdict.met is met


def test_every_mark_is_about_something_that_is_measured() -> None:
    for mark in marks.MARKS:
        assert mark.scenario in scenarios.BY_KEY
        assert mark.figure in scenarios.BY_KEY[mark.scenario].shows
        family = mark.reference.partition("'")[0]  # its best, or itself
        assert not family or peers.variants(family)


def test_a_machine_without_a_model_name() -> None:
    assert cpu_model("processor : 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert cpu_model("processor : 0\n")


# What is installed


def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    box = tools.Toolbox(ROOT, Path(sys.executable), Path("python"), tmp_path, {}, {"flask": "3"})
    assert box.missing(peers.BY_KEY["bjoern"].needs) == ["bjoern"]
    assert "pip install bjoern" in tools.hint("bjoern")
    assert tools.hint("granian").startswith("pip install granian")
    assert tools.hint("pm2").startswith("npm install pm2")
    assert box.missing(peers.BY_KEY["ours"].needs) == []


def test_node_modules_are_found_above_and_in_the_folder(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "express" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text('{"version": "5.1.0"}')
    for folder in (tmp_path, tmp_path / "node_modules"):
        box = tools.discover(node_modules=folder)
        assert box.node_modules == tmp_path / "node_modules"
        assert box.versions["express"] == "5.1.0"
        assert "pm2" not in box.versions
    assert box.ours["gunicorn"] == "27.0.1"


def test_every_peer_has_a_command_on_the_loopback_interface(tmp_path: Path) -> None:
    box = tools.Toolbox(ROOT, Path("/v/bin/python"), Path("/p/bin/python"), tmp_path)
    setup = peers.Setup(box, 8123, tmp_path, workers=3)
    for peer in peers.PEERS:
        told = [*peer.command(setup), *peer.environment(setup).values()]
        assert any("8123" in word for word in told), peer.key
        assert not any("0.0.0.0" in word for word in told), peer.key


# Clients


def test_a_response_is_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 7\r\n"
    assert strict_client.parse(b"") is None
    assert strict_client.parse(b"HTTP/1.1 20") is None
    assert strict_client.parse(head) is None
    assert strict_client.parse(head + b"\r\nRunnin") is None
    answer = strict_client.parse(head + b"\r\nRunningX")
    assert answer == strict_client.Answer(200, b"Running", False, len(head) + 9)
    closing = strict_client.parse(head + b"connection: Close\r\n\r\nRunning")
    assert closing is not None
    assert closing.closes
    for bad in (b"nonsense", b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"):
        with pytest.raises(ValueError, match="no"):
            strict_client.parse(bad)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nRunning on"


class Scripted:
    """A server that gives one scripted answer to each connection, then closes it."""

    def __init__(self, *script: bytes) -> None:
        self.served = threading.Event()
        """Set once every answer of the script was given; then nothing is answered."""
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._script:
            connection, _ = self._listener.accept()
            connection.recv(4096)
            connection.sendall(answer)
            connection.close()
        self._open.append(self._listener.accept()[0])
        self.served.set()

    def close(self) -> None:
        self._thread.join(10)
        for opened in (*self._open, self._listener):
            opened.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def start(*script: bytes) -> Scripted:
        servers.append(Scripted(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_the_strict_client_counts_every_failure(scripted: Callable[..., Scripted]) -> None:
    server = scripted(
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),  # as it should be
        ANSWER,  # answered, but the next request on it is not
        ANSWER.replace(b"200 OK", b"502 Bad Gateway"),
        ANSWER[:-3],
        b"",
        ANSWER.replace(b"Running", b"Stopped"),
        b"SSH-2.0-OpenSSH_9.9\r\n",
    )
    with strict_client.StrictClient(server.port, connections=1) as client:
        assert server.served.wait(10)
    assert client.books.answered == 2
    assert client.books.failures == {
        "closed instead": 2,
        "status 502": 1,
        "closed within the response": 1,
        "another answer": 1,
        "not a response": 1,
    }


def test_the_strict_client_counts_refused_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with strict_client.StrictClient(port, connections=1) as client:
        eventually(lambda: client.books.failed >= 2)
    assert client.books.failures == {"connect: Connection refused": client.books.failed}
    assert client.books.answered == 0


def test_who_answers(scripted: Callable[..., Scripted]) -> None:
    body = b'{"id":1,"pid":4242}'
    server = scripted(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body, b"")
    assert list(probe.pids(server.port, 1)) == [4242]
    assert list(probe.pids(server.port, 1)) == []
    assert probe.send(server.port, "/").close() is None  # type: ignore[union-attr]
    assert probe.pid_in(b"HTTP/1.1 503 No\r\n\r\n" + body) is None
    assert probe.pid_in(b"HTTP/1.1 200 OK\r\n\r\nhello") is None


# The whole


def command(*arguments: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments, "--output", str(folder)]


def test_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "ours,apache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "'apache' is none of ours, " in done.stderr


needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="apt-get install wrk")


@pytest.mark.long
@needs_wrk
def test_a_quick_run(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--quick", "--seconds", "1", folder=tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "results.json").read_text())
    for scenario in ("waits-3ms", "keepalive", "close"):
        for peer in ("ours", "gthread"):
            figures = said["medians"][scenario][peer]
            assert figures["requests"] > 0
            assert figures["cpu_us"] > 0
            assert figures["client_us"] > 0
            assert figures["pss_mib"] > 1
            assert figures["errors"] == 0
    assert said["failures"] == []
    assert "gunicorn gthread" in done.stdout
    ET.fromstring((tmp_path / "chart.svg").read_text())


@pytest.mark.long
@needs_wrk
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_server_behind(tmp_path: Path, number: signal.Signals) -> None:
    started = subprocess.Popen(
        command("--quick", "--only", "ours", "--seconds", "60", folder=tmp_path),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # The launcher's primary, its pool and 2 workers, and wrk.
        family = eventually(lambda: _five(started.pid), within=30)
        started.send_signal(number)
        assert started.wait(30) == 1
        assert [pid for pid in family if alive(pid)] == []
    finally:
        started.kill()
        started.wait()


NAMELESS = """
import os, signal, subprocess
from benchmarks.server import interruptible
with interruptible():
    print(subprocess.Popen(["sleep", "60"], stdout=2).pid, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
"""


def test_an_interrupt_leaves_nothing_that_was_just_forked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert not alive(int(done.stdout))


def _five(pid: int) -> list[int] | None:
    below = [stat.pid for stat in accounting.family(pid) if stat.alive and stat.pid != pid]
    return below if len(below) == 5 else None
