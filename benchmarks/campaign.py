"""The order of things: rounds of all peers, A B C A B C, so that what drifts hits all alike."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.bench import Bench, Scenario
from benchmarks.figures import Figures
from benchmarks.peers import Peer
from benchmarks.server import ServerError

WORST = frozenset({"errors", "failed"})
"""Figures of which a single one in any round is worth knowing."""


@dataclass(frozen=True)
class Cell:
    """One measurement to make: a scenario of a peer."""

    scenario: Scenario
    peer: Peer


@dataclass
class Results:
    """Everything measured so far, by (scenario, peer), a list entry for each round."""

    samples: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, cell: Cell, figures: Figures) -> None:
        self.samples.setdefault((cell.scenario.key, cell.peer.key), []).append(figures)

    @property
    def any(self) -> bool:
        """Whether something was measured."""
        return any(figures for rounds in self.samples.values() for figures in rounds)

    def rounds(self, scenario: str, peer: str) -> list[Figures]:
        """What each round found."""
        return self.samples.get((scenario, peer), [])

    def summary(self, scenario: str, peer: str) -> Figures:
        """Of all rounds; empty when there is none."""
        return summary(self.rounds(scenario, peer))


def summary(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds that have it; of what must be none, the worst."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {
        name: (max if name in WORST else statistics.median)(
            [figures[name] for figures in rounds if name in figures]
        )
        for name in names
    }


def plan(scenarios: Iterable[Scenario], peers: Sequence[Peer], rounds: int) -> list[Cell]:
    """All measurements in order. Rounds are outermost: a run that is cut short has them all."""
    return [
        Cell(scenario, peer)
        for _ in range(rounds)
        for scenario in scenarios
        for peer in peers
        if scenario.applies(peer)
    ]


def run(
    bench: Bench, cells: Iterable[Cell], results: Results
) -> Iterator[tuple[Cell, Figures | None]]:
    """Make them one by one. What fails is noted, gives None, and the rest goes on."""
    for cell in cells:
        figures: Figures | None = None
        try:
            figures = cell.scenario.measure(bench, cell.peer)
        except (ServerError, ValueError, OSError, subprocess.SubprocessError) as error:
            results.failures.append(f"{cell.scenario.key}, {cell.peer.key}: {error}")
        results.add(cell, figures or {})  # an entry all the same: it stands for this round
        yield cell, figures
