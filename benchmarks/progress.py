"""Shows how far it is: a bar on a terminal, else a line for each measurement. On stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from benchmarks import campaign
from benchmarks.bench import Bench
from benchmarks.campaign import Cell, Results
from benchmarks.figures import Figures


def follow(bench: Bench, cells: Sequence[Cell], results: Results) -> None:
    """Make the measurements and show each."""
    if sys.stderr.isatty():
        _with_bar(bench, cells, results)
    else:
        for number, line in enumerate(_lines(bench, cells, results), 1):
            click.echo(f"{number}/{len(cells)} {line}", err=True)


def _with_bar(bench: Bench, cells: Sequence[Cell], results: Results) -> None:
    steps = iter(_lines(bench, cells, results))
    with click.progressbar(
        cells,
        length=len(cells),
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda cell: f"{cell.scenario.title}: {cell.peer.title}" if cell else "",
    ) as bar:
        for _ in bar:  # it shows a cell before giving it out
            next(steps)


def _lines(bench: Bench, cells: Sequence[Cell], results: Results) -> Iterator[str]:
    for cell, figures in campaign.run(bench, cells, results):
        said = brief(figures) if figures else f"failed: {results.failures[-1]}"
        yield f"{cell.scenario.key} {cell.peer.key}: {said}"


def brief(figures: Figures) -> str:
    """On one line."""
    return ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
