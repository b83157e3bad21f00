"""Two working copies of the launcher, compared by the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import campaign, comparison, figures, peers, scenarios
from benchmarks import toolbox as tools
from benchmarks.campaign import Results
from benchmarks.comparison import Ratio
from tests.support import ROOT
from tests.test_benchmarks import MACHINE, command, needs_wrk


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


@pytest.mark.long
@needs_wrk
def test_this_copy_against_itself(tmp_path: Path) -> None:
    options = ("--against", ".", "--pairs", "1", "--scenario", "startup")
    done = run(options, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "against.json").read_text())
    assert said["ratios"]["startup"]["ours"]["first_ms"]["ratio"]["pairs"] == 1
    assert "1 pairs of 5 s" in done.stdout
