"""``python -m benchmarks``: says what is missing, measures, shows, and writes it down."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks import campaign, comparison, machine, peers, progress, scenarios
from benchmarks.bench import Bench, Scenario
from benchmarks.campaign import Cell, Results
from benchmarks.comparison import Comparison
from benchmarks.peers import Peer
from benchmarks.postgres import Database
from benchmarks.report import Run
from benchmarks.server import interruptible
from benchmarks.toolbox import Toolbox, discover, hint, program

QUICK_PEERS = ("ours", "gthread")
QUICK_SCENARIOS = ("waits-3ms", "keepalive", "close")
AGAINST = ("database-0ms", "keepalive", "close")
"""What is promised to be no dearer than before."""
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
    help=f"Measure only these: {', '.join(peers.BY_KEY)}. "
    f"{', '.join(peers.FAMILIES)} mean also those with other numbers of threads.",
)
@click.option(
    "--scenario",
    multiple=True,
    type=Keys([*scenarios.FAMILIES, *scenarios.BY_KEY]),
    help=f"Measure only this: {', '.join(scenarios.FAMILIES)}, or one of a size: "
    f"{', '.join(scenarios.BY_SIZE)}.  [default: all but threshold]",
)
@click.option("--rounds", type=click.IntRange(1), help="Times to measure all.  [default: 5]")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare with the launcher of this working copy, in pairs of rounds.  "
    f"[default scenarios: {', '.join(AGAINST)}]",
)
@click.option("--pairs", type=click.IntRange(1), help="Of rounds, with --against.  [default: 15]")
@click.option("--seconds", type=click.IntRange(1), help="Of each load.  [default: 5]")
@click.option("--quick", is_flag=True, help="1 round of 2 s, the launcher and gthread alone.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files with the results.  [default: benchmarks/results]",
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
    against: Path | None,
    pairs: int | None,
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
    _check(only, rounds, against, pairs)
    tools = discover(source, python, peers_dir, node_modules)
    default = ("ours",) if against else QUICK_PEERS if quick else tuple(peers.BY_KEY)
    there = _those_there(tools, [peers.BY_KEY[key] for key in _names(only) or default])
    chosen = _chosen(scenario, AGAINST if against else QUICK_SCENARIOS if quick else ())
    chosen = _of_those_equipped(tools, chosen)
    seconds = seconds or (2 if quick else 5)
    about = machine.describe(tools)
    if about.busy:
        click.echo(f"this machine is busy (load {about.load:.2f}): figures will be off", err=True)
    results = Results()
    run: Run | Comparison
    if against:
        pairs = pairs or (1 if quick else 15)
        contests = [comparison.contest(peer, against) for peer in there]
        cells = comparison.plan(chosen, contests, pairs)
        run = Comparison(results, chosen, contests, about, against, pairs, seconds)
    else:
        rounds = rounds or (1 if quick else 5)
        cells = campaign.plan(chosen, there, rounds)
        run = Run(results, chosen, there, about, rounds, seconds)
    complete = _measure(tools, cells, seconds, results)
    click.echo(run.text(), nl=False)
    for path in run.write(output or _results_folder()) if results.any else ():
        click.echo(f"wrote {os.path.relpath(path)}", err=True)
    sys.exit(0 if complete and not results.failures else 1)


def _check(
    only: Sequence[Sequence[str]], rounds: int | None, against: Path | None, pairs: int | None
) -> None:
    """What the options say together."""
    if against is None and pairs:
        raise click.UsageError("--pairs goes with --against")
    if against is None:
        return
    if rounds:
        raise click.UsageError("--against measures --pairs, not --rounds")
    if not (against / "launcher").is_dir():
        raise click.UsageError(f"--against: there is no launcher in {against}")
    if others := [key for key in _names(only) if not peers.BY_KEY[key].ours]:
        raise click.UsageError(f"--against compares the launcher alone, not {', '.join(others)}")


def _names(given: Sequence[Sequence[str]]) -> list[str]:
    """The peers of an option that may be given several times, in the table's order.

    A server's name means it with any number of threads.
    """
    names = {key for part in given for name in part for key in peers.variants(name)}
    return [key for key in peers.BY_KEY if key in names]


def _chosen(given: Sequence[Sequence[str]], default: Sequence[str]) -> list[Scenario]:
    """In the table's order, whatever the order on the command line."""
    names = {name for part in given for name in part} or set(default)
    if not names:
        return [each for each in scenarios.SCENARIOS if not each.asked_for]
    return [each for each in scenarios.SCENARIOS if names & {each.key, each.family}]


def _those_there(tools: Toolbox, wanted: Sequence[Peer]) -> list[Peer]:
    """The peers that can be measured here; says what the others lack."""
    if tools.missing(("wrk",)):
        raise click.ClickException(f"wrk is missing; to get it: {hint('wrk')}")
    lacking = {peer: tools.missing(peer.needs) for peer in wanted}
    for name in dict.fromkeys(name for missing in lacking.values() for name in missing):
        titles = ", ".join(peer.title for peer, missing in lacking.items() if name in missing)
        click.echo(f"left out, because there is no {name}: {titles}", err=True)
        click.echo(f"  to get it: {hint(name)}", err=True)
    return [peer for peer, missing in lacking.items() if not missing]


def _of_those_equipped(tools: Toolbox, chosen: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios, each for those peers alone that have what it needs; says what others lack."""
    said = set()
    for scenario in chosen:
        for ours, whose in ((True, "the launcher"), (False, "the others")):
            for name in tools.missing(scenario.needs, ours):
                words = (
                    f"{scenario.family} is left out for {whose}: no {name}; to get it: {hint(name)}"
                )
                if words not in said:
                    click.echo(words, err=True)
                said.add(words)
    return [dataclasses.replace(each, applies=_equipped(tools, each)) for each in chosen]


def _equipped(tools: Toolbox, scenario: Scenario) -> Callable[[Peer], bool]:
    return lambda peer: scenario.applies(peer) and not tools.missing(scenario.needs, peer.ours)


def _measure(tools: Toolbox, cells: Sequence[Cell], seconds: int, results: Results) -> bool:
    """Adds all that is found to the results; whether it was not cut short."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    postgres = program("postgres")
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True) as folder,
        Database(postgres and postgres.resolve().parent) as database,
    ):
        try:
            progress.follow(Bench(tools, Path(folder), database, seconds), cells, results)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; this is what there is", err=True)
            return False
    return True


def _results_folder() -> Path:
    """The default, which git does not look at."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / ".gitignore").write_text("*\n")
    return RESULTS


if __name__ == "__main__":
    main()
