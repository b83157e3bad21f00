"""What was found: tables for the terminal, and the files of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import chart, marks, summary
from benchmarks.bench import Scenario
from benchmarks.campaign import Results
from benchmarks.figures import Figures, best
from benchmarks.machine import Machine
from benchmarks.peers import Peer

T = TypeVar("T")

REFERENCES = ("bjoern", "granian", "gthread", "node")

COLUMNS = {
    "cpu_us": "CPU µs",
    "rate": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "pss_mib": "PSS MiB",
    "first_ms": "first ms",
    "all_ms": "all workers ms",
    "full_ms": "ms",
    "client_us": "client µs",
    "others_percent": "others %",
    "failed_per_kill": "failed per kill",
    "failed_per_reload": "failed per reload",
    "took_ms": "ms each",
    "per_second": "deals/s",
    "cost_us_10": "µs, 10 open",
    "cost_us_1000": "1,000 open",
    "cost_us_10000": "10,000 open",
    "rate_10": "achieved/s",
    "rate_1000": "achieved/s",
    "rate_10000": "achieved/s",
}

RATIOS = {"rate": "rate", "cpu_us": "CPU"}
"""How a figure is called in the head of a ratio, where several are compared."""

DISTURBED = 5
"""Percent of all CPUs that others may take."""


def number(value: float | None) -> str:
    """With as many digits as can mean something."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *figures = row
    right = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
    return "  ".join((first.ljust(widths[0]), *right)).rstrip()


def scenario_table(results: Results, scenario: Scenario, peers: Sequence[Peer]) -> str:
    """A line for each peer: medians, and what is compared relative to the references'."""
    measured = {peer: results.summary(scenario.key, peer.key) for peer in peers}
    found = {peer: figures for peer, figures in measured.items() if figures}
    if not found:
        return ""
    compared = scenario.compared or scenario.shows[:1]
    bases = {name: references(found, name) for name in compared}
    headings = [COLUMNS.get(name, name) for name in scenario.shows]
    for name, values in bases.items():
        which = f"{RATIOS.get(name, name)} " if len(bases) > 1 else ""
        headings += [f"{which}/ {family}" for family in values]
    rows = [[scenario.title, *headings]]
    for peer, figures in found.items():
        ratios = [f"{figures[name] / base:.2f}" for name in bases for base in bases[name].values()]
        rows.append([peer.title, *(number(figures.get(n)) for n in scenario.shows), *ratios])
    return table(rows)


def references(found: dict[Peer, Figures], name: str) -> dict[str, float]:
    """The figure of those that others are compared with: of a server's variants the best.

    A zero is nothing to divide by.
    """
    by_family: dict[str, list[float]] = {}
    for peer, figures in found.items():
        by_family.setdefault(peer.family or peer.key, []).append(figures.get(name, 0.0))
    bests = {key: best(name, values) for key, values in by_family.items() if key in REFERENCES}
    return {key: value for key, value in bests.items() if value}


def marks_table(verdicts: Sequence[marks.Verdict]) -> str:
    """Each mark: what was found, the limit, and whether it is met."""
    rows = [["Marks", "found", "limit", ""]]
    for verdict in verdicts:
        met = "met" if verdict.met else "MISSED"
        rows.append([verdict.mark.text, number(verdict.value), number(verdict.limit), met])
    return table(rows)


def disturbed(results: Results) -> str:
    """A word on measurements during which other processes worked; empty when there were none."""
    shares = [
        figures["others_percent"]
        for rounds in results.samples.values()
        for figures in rounds
        if "others_percent" in figures
    ]
    many = sum(share > DISTURBED for share in shares)
    if not many:
        return ""
    most = f"at most {max(shares):.0f} %"
    return (
        f"In {many} of {len(shares)} measurements other processes, or the host, took more than "
        f"{DISTURBED} % of the CPUs, {most}."
    )


@dataclass(frozen=True)
class Run:
    """A whole run: what was measured of whom, how, where, and what came out."""

    results: Results
    scenarios: Sequence[Scenario]
    peers: Sequence[Peer]
    machine: Machine
    rounds: int
    seconds: float

    def text(self) -> str:
        """Everything, for people."""
        verdicts = marks.judge(self.results.summary)
        parts = [
            "\n".join(self.machine.lines()),
            "This machine was busy: do not trust the figures." if self.machine.busy else "",
            *(scenario_table(self.results, scenario, self.peers) for scenario in self.scenarios),
            marks_table(verdicts) if verdicts else "",
            disturbed(self.results),
            "\n".join(f"failed: {failure}" for failure in self.results.failures),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def json(self) -> str:
        """Everything, for programs: all rounds and their medians."""
        return json.dumps(self._as_dict(), indent=1, ensure_ascii=False) + "\n"

    def _as_dict(self) -> dict[str, Any]:
        verdicts = marks.judge(self.results.summary)
        return {
            "machine": dataclasses.asdict(self.machine),
            "busy": self.machine.busy,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "medians": self._by_scenario(self.results.summary),
            "samples": self._by_scenario(self.results.rounds),
            "marks": [
                {"mark": v.mark.text, "found": v.value, "limit": v.limit, "met": v.met}
                for v in verdicts
            ],
            "failures": self.results.failures,
        }

    def _by_scenario(self, lookup: Callable[[str, str], T]) -> dict[str, dict[str, T]]:
        """What is known, by scenario and peer; nothing is left out, also when it was empty."""
        return {
            scenario.key: {peer.key: lookup(scenario.key, peer.key) for peer in self.peers}
            for scenario in self.scenarios
        }

    def write(self, folder: Path) -> list[Path]:
        """The files of a run, into a folder that is made; what was written."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"results.json": self.json(), "results.txt": self.text()}
        if brief := summary.markdown(self.results.summary):
            files["summary.md"] = brief
        if filled := chart.filled(self.results.summary, self.peers):
            rounds = f"medians of {self.rounds} rounds" if self.rounds > 1 else "1 round"
            note = f"2 workers, 64 connections, {rounds} of {self.seconds:g} s."
            files["chart.svg"] = chart.draw(filled, self.machine, note)
        for name, content in files.items():
            (folder / name).write_text(content)
        return [folder / name for name in files]
