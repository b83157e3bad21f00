"""The benchmarks of the app that waits: who is measured, what is asked, what is shown."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from app import create_app
from benchmarks import accounting, chart, figures, marks, peers, report, scenarios, summary, waiting
from benchmarks import toolbox as tools
from benchmarks.bench import Meter
from benchmarks.campaign import Results
from benchmarks.marks import Mark
from benchmarks.servers import webapp
from tests.support import ROOT
from tests.test_benchmarks import MACHINE


def summary_of(**by_peer: dict[str, float]) -> figures.Lookup:
    """Medians by peer, with _ for the - of its key, whatever the scenario."""
    known = {key.replace("_", "-"): found for key, found in by_peer.items()}
    return lambda _, peer: known.get(peer, {})


# Who is measured


def asked(scenario: str) -> list[str]:
    return [peer.key for peer in peers.PEERS if scenarios.BY_KEY[scenario].applies(peer)]


def test_an_app_that_waits_is_served_with_4_16_and_64_threads() -> None:
    with_threads = [f"{key}-{n}" for key in ("uwsgi", "granian") for n in (4, 16, 64)]
    gthreads = ["gthread", "gthread-16", "gthread-64"]
    flask = {"ours", "ours-4threads", "granian", *with_threads, *gthreads}
    assert set(asked("waits-3ms")) == {*flask, "node", "pm2"}
    assert set(asked("database-1ms")) == set(asked("computes")) == flask
    # Where nothing waits, each is as before.
    assert not {*with_threads, "ours-4threads", "gthread-16"} & set(asked("keepalive"))
    assert {"uwsgi", "granian", "gthread", "ours-1thread"} <= set(asked("keepalive"))
    assert set(peers.BY_KEY) == set(asked("mixed"))


def test_variants_are_told_their_threads(tmp_path: Path) -> None:
    box = tools.Toolbox(ROOT, Path("/v/bin/python"), Path("/p/bin/python"), tmp_path)
    setup = peers.Setup(box, 8123, tmp_path)
    for family in ("gthread", "uwsgi", "granian"):
        variants = [peers.BY_KEY[key] for key in peers.variants(family)]
        told = {
            peer.command(setup)[i + 1]
            for peer in variants
            for i, word in enumerate(peer.command(setup))
            if word.endswith("threads")
        }
        assert told == {"4", "16", "64"}, family
    assert peers.variants("node") == ["node"]
    assert peers.variants("gthread-16") == ["gthread-16"]
    assert peers.variants("apache") == []
    assert peers.FAMILIES == ("uwsgi", "granian", "gthread")


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


def waiting_results() -> Results:
    """Of an app that waits, and of one that does not."""
    results = Results()
    for key, rate, cpu in (("ours", 80, 10), ("gthread", 20, 20), ("gthread-16", 40, 40)):
        results.samples["waits-10ms", key] = [{"rate": float(rate), "cpu_us": float(cpu)}]
        results.samples["keepalive", key] = [{"rate": 1.0, "cpu_us": float(cpu)}]
    results.samples["waits-10ms", "node"] = [{"rate": 60.0, "cpu_us": 10.0}]
    results.samples["waits-10ms", "ours-4threads"] = [{"rate": 99.0, "cpu_us": 10.0}]
    return results


def test_the_chart_begins_with_the_app_that_waits() -> None:
    first, second = chart.filled(waiting_results().summary, peers.PEERS)
    assert [(row.title, row.values[0]) for row in first.rows] == [
        ("launcher", 80),
        ("Node cluster + Express", 60),
        ("gunicorn gthread", 40),  # with as many threads as suit it
    ]
    assert [row.title for row in second.rows] == ["launcher", "gunicorn gthread"]
    root = ET.fromstring(chart.draw([first, second], MACHINE, "5 rounds."))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.index(first.panel.title) < texts.index(second.panel.title)
    assert "40 · 0.50\N{MULTIPLICATION SIGN}" in texts


def test_the_summary_begins_with_the_app_that_waits() -> None:
    lines = summary.markdown(waiting_results().summary).splitlines()
    assert lines[0] == "|  | launcher | Node + Express | gunicorn gthread |"
    assert lines[2] == "| requests per second, every one waits 10 ms | 80 | 60 | 40 |"
    # All figures of a scenario are of one variant: that with the most requests per second.
    assert lines[3] == "| — CPU per request | 10 µs | 10 µs | 40 µs |"
    assert any("nothing waits" in line and "—" in line for line in lines)
    assert summary.markdown(Results().summary) == ""


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


def test_what_others_took_is_what_is_left_of_all() -> None:
    before = Meter(server=1.0, client=1.0, database=0.0, everyone=10.0, clock=100.0)
    after = Meter(server=3.0, client=1.5, database=1.0, everyone=14.0, clock=110.0)
    assert (after - before).others_percent == pytest.approx(5)
    # The server's clock is read a moment later than everyone's.
    assert Meter(2.0, 0.0, 0.0, 1.9, 10.0).others_percent == 0


def test_measurements_that_others_disturbed_are_told() -> None:
    results = Results({("keepalive", "ours"): [{"others_percent": 1.0}, {"rate": 1.0}]})
    assert report.disturbed(results) == ""
    results.samples["close", "ours"] = [{"others_percent": 40.0}]
    assert "In 1 of 2 measurements" in report.disturbed(results)
    assert "at most 40 %" in report.disturbed(results)


def test_what_the_host_took(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert accounting.stolen_seconds(tmp_path) == 800 / accounting.TICKS
    assert accounting.stolen_seconds() >= 0
