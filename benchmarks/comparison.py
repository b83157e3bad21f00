"""Two working copies of the launcher, compared in pairs of rounds: is one dearer than the other?

A machine drifts by more than what is looked for here. Each pair is measured one right after the
other, the order alternates, and what counts is the median of the pairs' ratios. The same copy
measured against itself, within the same rounds, says how far that can be trusted.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Scenario
from benchmarks.campaign import Cell, Results
from benchmarks.figures import MORE_IS_BETTER, Figures
from benchmarks.machine import Machine
from benchmarks.peers import Peer
from benchmarks.report import COLUMNS, disturbed, number, table

MARGIN = 0.03
"""Of a ratio's median: up to here two copies are alike."""

JUDGED = ("cpu_us", "rate")
NOT_COMPARED = ("others_percent", "errors")


@dataclass(frozen=True)
class Contest:
    """One variant of the launcher from two working copies, and from the first once more."""

    this: Peer
    other: Peer
    again: Peer

    @property
    def peers(self) -> tuple[Peer, Peer, Peer]:
        return self.this, self.other, self.again


def contest(peer: Peer, folder: Path) -> Contest:
    """``folder``: the other working copy."""
    other = dataclasses.replace(peer, key=f"{peer.key}@other", source=folder.absolute())
    return Contest(peer, other, dataclasses.replace(peer, key=f"{peer.key}@again"))


def plan(scenarios: Sequence[Scenario], contests: Sequence[Contest], pairs: int) -> list[Cell]:
    """The other copy always stands between the two of this one; which of them begins alternates."""
    return [
        Cell(scenario, peer)
        for number in range(pairs)
        for scenario in scenarios
        for each in contests
        if scenario.applies(each.this)
        for peer in (reversed(each.peers) if number % 2 else each.peers)
    ]


@dataclass(frozen=True)
class Ratio:
    """Of one figure, over all pairs of rounds."""

    median: float
    low: float
    high: float
    """The middle half of the pairs lies between these two."""
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.3f}"

    @property
    def half(self) -> str:
        return f"{self.low:.3f}-{self.high:.3f}"


def ratio(name: str, above: Sequence[Figures], below: Sequence[Figures]) -> Ratio | None:
    """None when no round has the figure of both, or zeros only."""
    found = sorted(
        a[name] / b[name] for a, b in zip(above, below, strict=False) if a.get(name) and b.get(name)
    )
    if not found:
        return None
    low, _, high = statistics.quantiles(found, n=4, method="inclusive") if found[1:] else found * 3
    return Ratio(statistics.median(found), low, high, len(found))


def verdict(name: str, found: Ratio, control: Ratio) -> str:
    """In words. Nothing can be told where the same copy differs from itself."""
    if name not in JUDGED:
        return ""
    if abs(control.median - 1) > MARGIN:
        return "the control is off"
    better = found.median - 1 if name in MORE_IS_BETTER else 1 - found.median
    if abs(better) <= MARGIN:
        return f"alike within {MARGIN:.0%}"
    return "better" if better > 0 else "WORSE"


@dataclass(frozen=True)
class Row:
    """A figure of both copies: medians, the ratio of this to the other, and of this to itself."""

    name: str
    this: float
    other: float
    ratio: Ratio
    control: Ratio

    @property
    def cells(self) -> list[str]:
        said = verdict(self.name, self.ratio, self.control)
        values = [COLUMNS.get(self.name, self.name), number(self.this), number(self.other)]
        return [
            *values,
            str(self.ratio),
            self.ratio.half,
            str(self.control),
            self.control.half,
            said,
        ]


def rows(results: Results, scenario: Scenario, contested: Contest) -> list[Row]:
    """Of what was measured of all three."""
    this, other, again = (results.rounds(scenario.key, peer.key) for peer in contested.peers)
    medians = [results.summary(scenario.key, peer.key) for peer in contested.peers[:2]]
    found = []
    for name in scenario.shows:
        if name in NOT_COMPARED:
            continue
        between, control = ratio(name, this, other), ratio(name, again, this)
        if between and control:
            found.append(Row(name, medians[0][name], medians[1][name], between, control))
    return found


@dataclass(frozen=True)
class Comparison:
    """A whole comparison, as `report.Run` is a whole run."""

    results: Results
    scenarios: Sequence[Scenario]
    contests: Sequence[Contest]
    machine: Machine
    folder: Path
    """The other working copy."""
    pairs: int
    seconds: float

    def text(self) -> str:
        """Everything, for people."""
        parts = [
            "\n".join(self.machine.lines()),
            "This machine was busy: do not trust the figures." if self.machine.busy else "",
            f"Against {self.folder}: {self.pairs} pairs of {self.seconds:g} s.",
            *(self._table(scenario, each) for scenario in self.scenarios for each in self.contests),
            disturbed(self.results),
            "\n".join(f"failed: {failure}" for failure in self.results.failures),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _table(self, scenario: Scenario, contested: Contest) -> str:
        found = rows(self.results, scenario, contested)
        if not found:
            return ""
        title = f"{scenario.title}, {contested.this.title}"
        head = [title, "this", "other", "this/other", "middle half", "control", "middle half", ""]
        return table([head, *(row.cells for row in found)])

    def json(self) -> str:
        """Everything, for programs."""
        return json.dumps(self._as_dict(), indent=1, ensure_ascii=False) + "\n"

    def _as_dict(self) -> dict[str, Any]:
        return {
            "machine": dataclasses.asdict(self.machine),
            "busy": self.machine.busy,
            "against": str(self.folder),
            "pairs": self.pairs,
            "seconds": self.seconds,
            "ratios": {
                scenario.key: {
                    each.this.key: {
                        row.name: dataclasses.asdict(row)
                        for row in rows(self.results, scenario, each)
                    }
                    for each in self.contests
                }
                for scenario in self.scenarios
            },
            "samples": {
                scenario.key: {
                    peer.key: self.results.rounds(scenario.key, peer.key)
                    for each in self.contests
                    for peer in each.peers
                }
                for scenario in self.scenarios
            },
            "failures": self.results.failures,
        }

    def write(self, folder: Path) -> list[Path]:
        """The files of a comparison, into a folder that is made; what was written."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"against.json": self.json(), "against.txt": self.text()}
        for name, content in files.items():
            (folder / name).write_text(content)
        return [folder / name for name in files]
