"""``describe``: everything about one cluster."""

import datetime
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from launcher.cli.asking.facts import Facts, exits_as_json, facts_of
from launcher.cli.asking.parallel import in_parallel
from launcher.cli.asking.selection import choose
from launcher.cli.colours import OF_STATE
from launcher.cli.options import names_or_all, version
from launcher.cli.text import (
    Look,
    Style,
    complain,
    plain,
    printable,
    show_count,
    show_duration,
    show_rate,
    show_size,
    table,
    width,
)
from launcher.config.readers import read_threads
from launcher.config.settings import OPTIONS, Settings
from launcher.control.client import no_such_cluster
from launcher.errors import LauncherError, NothingToDo
from launcher.logs.cleaning import harmless_json
from launcher.state.home import Home

__all__ = ["describe"]

WORKERS = (
    *("slot", "id", "pid", "status", "gen", "uptime", "reqs", "req/s", "conns"),
    *("cpu", "memory"),
)
THREADS = ("slot", "id", "threads", "of", "running", "streaming")
EXITS = ("slot", "worker", "pid", "when", "ended", "reason")
SETTINGS = ("settings", "value", "from")
LONGEST_VALUE = 24
"""Characters of a value that the column of values makes room for."""


@click.command(epilog="Example: python -m launcher describe web")
@names_or_all
@click.option("--json", "as_json", is_flag=True, help="As a JSON object; of several: an array.")
@click.option("--all", "everything", is_flag=True, help="Also the settings that are defaults.")
@version
def describe(names: tuple[str, ...], as_json: bool, everything: bool) -> int:
    """Show what a cluster runs and how it is.

    Its workers and what their threads are with, how the last worker of each
    slot ended, restarts by reason, its logs; the settings that are no defaults
    and where each comes from. --json has everything.
    """
    home = Home.open_existing()
    try:
        chosen = choose(names, home, stopped_too=True)
    except NothingToDo:
        if not as_json:
            raise
        click.echo("[]")
        return 0
    if home is None:
        raise no_such_cluster(chosen[0], [])
    with closing(home):
        found = in_parallel(lambda name: facts_of(home, name), chosen)
        known = [facts for facts in found if facts]
        logs = [_log_paths(home, facts.status["name"]) for facts in known]
        for name, facts in zip(chosen, found, strict=True):
            if facts is None:
                complain(str(no_such_cluster(name, home.names())))
    if as_json:
        _show_json(known, logs, single=len(names) == 1 and names[0] != "all")
    elif known:
        click.echo(
            "\n\n".join(
                "\n".join(_lines(*each, everything)) for each in zip(known, logs, strict=True)
            )
        )
    silent = [facts.silence for facts in known if facts.silence]
    for why in silent:
        complain(why)
    return int(bool(silent) or len(known) < len(chosen))


def _show_json(known: Sequence[Facts], logs: Sequence[list[str]], single: bool) -> None:
    values = [_as_json(facts, paths) for facts, paths in zip(known, logs, strict=True)]
    if values or not single:
        click.echo(harmless_json(values[0] if single else values, indent=2))


def _as_json(facts: Facts, logs: list[str]) -> dict[str, Any]:
    return facts.status | {
        "requests_per_second": facts.requests_per_second,
        "configuration": {
            name: {"value": value, "source": source} for name, value, source in _settings(facts)
        },
        "last_exits": exits_as_json(facts.last_exits),
        "logs": logs,
    }


def _lines(facts: Facts, logs: list[str], everything: bool = False) -> list[str]:
    return [
        *_summary(facts, logs),
        *_section("workers", _workers(facts), _by_status(facts.status["workers"])),
        *_section("threads", _threads(facts)),
        *_section("last exits", _exits(facts), left=6),
        *_configuration(facts, everything),
    ]


def _summary(facts: Facts, logs: list[str]) -> list[str]:
    status = facts.status
    name = click.style(printable(status["name"]), bold=True)
    state = click.style(printable(status["status"]), fg=OF_STATE.get(status["status"]))
    restarts = ", ".join(f"{count} {why}" for why, count in status["restarts"].items() if count)
    environment = facts.settings.get("environment")
    where = f", environment {environment}" if environment else ""
    rows = [
        ("app", f"{status['app']}{where}"),
        ("listens on", f"{', '.join(map(str, status['bind']))}; policy {status['policy']}"),
        ("workers", f"{facts.ready} of {status['workers_wanted']} ready ({status['sizing']})"),
        *_to_plan_for(facts),
    ]
    head = f"{name}: {state}"
    if status["pid"]:
        head += f", pid {status['pid']}"
    if facts.answered:
        head += f", up {show_duration(status['uptime'])}, generation {status['generation']}"
        rate = show_rate(facts.requests_per_second)
        rows += [
            ("requests", f"{status['requests']}, {rate}/s; {status['connections']} connections"),
            ("running", f"{_running(status)}; {status['waiting']} waiting"),
        ]
        if restarts:
            rows.append(("restarts", restarts))
    if logs:
        rows.append(
            ("logs", f"{os.path.dirname(logs[0])}: {', '.join(map(os.path.basename, logs))}")
        )
    if status["error"]:
        rows.append(("error", status["error"]))
    return [head, *(f"  {key:<12}{printable(value)}" for key, value in rows)]


def _section(title: str, rows: list[list[str]], style: Style = plain, left: int = 0) -> list[str]:
    """A table below its title; nothing where there is nothing in it."""
    if len(rows) < 2:
        return []
    heading, *rest = rows
    # One blank between figures: at 80 columns the table of workers needs it.
    gap = "  " if left else " "
    lines = table(heading, rest, left, Look(width() - 2, style, gap))
    indented = [f"  {line}" for text in lines for line in text.split("\n")]
    return ["", click.style(title, bold=True), *indented]


def _by_status(workers: Sequence[Mapping[str, Any]]) -> Style:
    def style(row: int, column: int, text: str) -> str:
        if row and WORKERS[column] == "status":
            return click.style(text, fg=OF_STATE.get(workers[row - 1]["status"]))
        return text

    return style


def _workers(facts: Facts) -> list[list[str]]:
    rows = [[*WORKERS]]
    for worker in facts.status["workers"]:
        rows.append(
            [
                str(worker["slot"]),
                str(worker["id"] or "-"),
                str(worker["pid"] or "-"),
                printable(worker["status"]),
                str(worker["generation"]),
                show_duration(worker["uptime"]),
                show_count(worker["requests"]),
                show_rate(facts.worker_rates.get(str(worker["id"]), 0.0)),
                str(worker["connections"]),
                f"{worker['cpu']:.0f}%",
                show_size(worker["rss"]),
            ]
        )
    return rows


def _threads(facts: Facts) -> list[list[str]]:
    """What the threads of each worker are with; ``-`` where its primary does not tell."""
    least, _ = _bounds(facts) or (0, 0)
    rows = [[*THREADS]]
    for worker in facts.status["workers"]:
        if worker["id"]:
            told = worker["threads_max"] > 0
            rows.append(
                [
                    str(worker["slot"]),
                    str(worker["id"]),
                    str(worker["threads"]) if told else "-",
                    _one_or_range(least, worker["threads_max"]) if told else "-",
                    str(worker["active"]),
                    str(worker["streaming"]) if told else "-",
                ]
            )
    return rows


def _running(status: Mapping[str, Any]) -> str:
    streams = status["streaming"]
    return f"{status['active']}, {streams} of them streaming" if streams else f"{status['active']}"


def _to_plan_for(facts: Facts) -> list[tuple[str, str]]:
    """How many threads there may be, hence connections to a database; a reload has two pools."""
    bounds = _bounds(facts)
    if bounds is None:
        return []
    count = bounds[1] * facts.status["workers_wanted"]
    plan = f"plan for {count} database connections, {2 * count} in a reload"
    return [("threads", f"{_one_or_range(*bounds)} each; {plan}")]


def _bounds(facts: Facts) -> tuple[int, int] | None:
    """MIN and MAX of its threads; None where what it has kept cannot be read."""
    kept = {name: value for name, value, _ in _settings(facts)}
    try:
        settings = Settings(threads=read_threads(str(kept.get("threads"))))
    except ValueError:
        return None
    return settings.threads_min, settings.threads_max


def _one_or_range(least: int, most: int) -> str:
    """``4-64``, or ``8`` where both are the same."""
    return f"{least}-{most}" if 0 < least < most else str(most)


def _exits(facts: Facts) -> list[list[str]]:
    rows = [[*EXITS]]
    for each in facts.last_exits:
        ended = each["signal"] or f"exit {'?' if each['code'] is None else each['code']}"
        when = _local(each["when"]).strftime("%Y-%m-%d %H:%M:%S")
        cells = [str(each["slot"]), str(each["id"]), str(each["pid"] or "-"), when, ended]
        rows.append([*map(printable, cells), printable(each["reason"])])
    return rows


def _configuration(facts: Facts, everything: bool) -> list[str]:
    """A line per option. A value that is longer than most pushes only its own line."""
    rows = [SETTINGS]
    rows += [
        (name, _shown(value), source)
        for name, value, source in _settings(facts)
        if everything or source != "default"
    ]
    if len(rows) == 1:
        return []
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows if len(value) <= LONGEST_VALUE)
    heading, *lines = [
        f"{name:<{names}}  {printable(value):<{values}}  {printable(source)}"
        for name, value, source in rows
    ]
    # At the left, as the titles of the other tables: it is title and heading in one.
    return ["", click.style(heading, bold=True), *(f"  {line}" for line in lines)]


def _settings(facts: Facts) -> list[tuple[str, Any, str]]:
    """Every option, its value and where that comes from."""
    kept = facts.settings if facts.answered else _to_start_with(facts.settings)
    sources = kept.get("sources")
    told: Mapping[str, Any] = sources if isinstance(sources, dict) else {}
    return [
        (row.name, kept[row.name], str(told.get(row.name, "default")))
        for row in OPTIONS
        if row.name in kept
    ]


def _to_start_with(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a cluster that does not run would be started with, by this version."""
    try:
        return Settings.from_json(kept).values()
    except LauncherError:
        return kept


def _shown(value: object) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(str, value))
    return str(value)


def _log_paths(home: Home, name: str) -> list[str]:
    """Where the logs are, with the files that are written now."""
    try:
        with home.logs(name) as folder:
            files = [] if folder is None else sorted(os.listdir(folder))
    except LauncherError:
        return []
    place = os.path.join(home.path, name, "logs")
    return [os.path.join(place, file) for file in files if file.endswith(".log")]


def _local(when: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(when).astimezone()
