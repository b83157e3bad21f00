"""``python -m benchmarks``: says what is missing, measures, shows, and writes it down."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click

from benchmarks import campaign, machine, peers, progress, scenarios
from benchmarks.campaign import Results
from benchmarks.peers import Peer
from benchmarks.report import Run
from benchmarks.scenarios import Bench, Scenario
from benchmarks.server import interruptible
from benchmarks.toolbox import Toolbox, discover, hint

T = TypeVar("T")

QUICK_PEERS = ("ours", "gthread")
QUICK_SCENARIOS = ("keepalive", "close")
RESULTS = Path(__file__).parent / "results"


class Keys(click.ParamType[tuple[str, ...], object]):
    """One or several of a table's keys, separated by commas."""

    name = "names"

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return "NAME[,NAME…]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        chosen = tuple(str(value).split(","))
        for key in chosen:
            if key not in self.keys:
                self.fail(f"{key!r} is none of {', '.join(self.keys)}", param, ctx)
        return chosen


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--only",
    multiple=True,
    type=Keys(list(peers.BY_KEY)),
    help=f"Measure only these: {', '.join(peers.BY_KEY)}.",
)
@click.option(
    "--scenario",
    multiple=True,
    type=Keys(list(scenarios.BY_KEY)),
    help=f"Measure only this: {', '.join(scenarios.BY_KEY)}.",
)
@click.option("--rounds", type=click.IntRange(1), help="Times to measure all.  [default: 5]")
@click.option("--seconds", type=click.IntRange(1), help="Of each load.  [default: 5]")
@click.option("--quick", is_flag=True, help="1 round of 2 s, the launcher and gthread alone.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for results.json, results.txt and chart.svg.  [default: benchmarks/results]",
)
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure the launcher of this working copy.  [default: this one]",
)
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter for the launcher.  [default: this one]",
)
@click.option(
    "--peers-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="BENCHMARK_PEERS",
    show_envvar=True,
    help="Virtual environment of the Python peers.  [default: this one]",
)
@click.option(
    "--node-modules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="BENCHMARK_NODE_MODULES",
    show_envvar=True,
    help="Folder where npm installed the Node peers.  [default: the current]",
)
def main(
    only: tuple[tuple[str, ...], ...],
    scenario: tuple[tuple[str, ...], ...],
    rounds: int | None,
    seconds: int | None,
    quick: bool,
    output: Path | None,
    source: Path | None,
    python: Path | None,
    peers_dir: Path | None,
    node_modules: Path | None,
) -> None:
    """Measure the launcher against other servers, on this machine, with the same app.

    Nothing is installed: what is missing is left out, and how to get it is said.
    """
    tools = discover(source, python, peers_dir, node_modules)
    chosen_peers = _chosen(peers.BY_KEY, only, QUICK_PEERS if quick else ())
    chosen = _chosen(scenarios.BY_KEY, scenario, QUICK_SCENARIOS if quick else ())
    there = _those_there(tools, chosen_peers)
    rounds = rounds or (1 if quick else 5)
    seconds = seconds or (2 if quick else 5)
    about = machine.describe(tools)
    if about.busy:
        click.echo(f"this machine is busy (load {about.load:.2f}): figures will be off", err=True)
    results, complete = _measure(tools, there, chosen, rounds, seconds)
    run = Run(results, chosen, there, about, rounds, seconds)
    click.echo(run.text(), nl=False)
    for path in run.write(output or _results_folder()) if results.samples else ():
        click.echo(f"wrote {os.path.relpath(path)}", err=True)
    sys.exit(0 if complete and not results.failures else 1)


def _chosen(table: dict[str, T], given: Sequence[Sequence[str]], default: Sequence[str]) -> list[T]:
    """In the table's order, whatever the order on the command line."""
    keys = {key for part in given for key in part} or set(default) or set(table)
    return [value for key, value in table.items() if key in keys]


def _those_there(tools: Toolbox, wanted: Sequence[Peer]) -> list[Peer]:
    """The peers that can be measured here; says what the others lack."""
    if tools.missing(("wrk",)):
        raise click.ClickException(f"wrk is missing; to get it: {hint('wrk')}")
    there = []
    for peer in wanted:
        missing = tools.missing(peer.needs)
        for name in missing:
            click.echo(f"{peer.title} is left out: no {name}; to get it: {hint(name)}", err=True)
        if not missing:
            there.append(peer)
    return there


def _measure(
    tools: Toolbox, there: Sequence[Peer], chosen: Sequence[Scenario], rounds: int, seconds: int
) -> tuple[Results, bool]:
    """All that was found, and whether it was not cut short."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = Results()
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True) as folder,
    ):
        try:
            cells = campaign.plan(chosen, there, rounds)
            progress.follow(Bench(tools, Path(folder), seconds), cells, results)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; this is what there is", err=True)
            return results, False
    return results, True


def _results_folder() -> Path:
    """The default, which git does not look at."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / ".gitignore").write_text("*\n")
    return RESULTS


if __name__ == "__main__":
    main()
