"""docs/architecture.md: its ways lead downwards, its tables are the code's, its words exist."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from tests.structure import below
from tests.test_layering import LAUNCHER, ROOMS, ROOT

PAGE = (ROOT / "docs/architecture.md").read_text()
WAYS = ("A connection's path", "A dead worker's connection", "A reload's path")


class Stop(NamedTuple):
    """One point of a list: the file that is opened, and those that are looked up from there."""

    module: str
    aside: Sequence[str]


def section(page: str, heading: str) -> str:
    """What stands below a heading of the second order."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def lists(text: str) -> Iterator[list[Stop]]:
    """The lists of a way, each read from its first point to its last."""
    for part in re.split(r"^\*\*.+\*\*$", text, flags=re.MULTILINE)[1:]:
        points = re.findall(r"^\d+\. .*(?:\n +.*)*", part, flags=re.MULTILINE)
        yield [Stop(*_modules(point)) for point in points]


def _modules(point: str) -> tuple[str, list[str]]:
    first, *others = re.findall(r"`(launcher/[^`]+)\.py`", point)
    return first.replace("/", "."), [each.replace("/", ".") for each in others]


def floors(module: str) -> list[int]:
    """In which room a module is, from the top of the house: a larger list is further below."""
    parts = module.split(".")
    folders = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    inner = zip(folders, parts[1:], strict=True)
    return [ROOMS[folder].index(room) for folder, room in inner if folder in ROOMS]


def faults(stops: Sequence[Stop]) -> list[str]:
    """What is wrong with a list."""
    found, opened = [], [stops[0].module]
    here = stops[0].module
    for stop in stops:
        for above, module in [(here, stop.module), *((stop.module, each) for each in stop.aside)]:
            if module not in LAUNCHER.modules:
                found.append(f"{module} is not there")
                continue
            if module not in opened and not any(module in LAUNCHER.imports(it) for it in opened):
                found.append(f"no file above imports {module}")
            if floors(module) < floors(above):
                found.append(f"{module} lies above {above}")
            opened.append(module)
        here = stop.module
    return found


# The ways


@pytest.mark.parametrize("way", WAYS)
def test_a_way_through_the_house_leads_downwards(way: str) -> None:
    found = [*lists(section(PAGE, way))]
    assert found
    assert [fault for stops in found for fault in faults(stops)] == []


@pytest.mark.parametrize("way", WAYS)
def test_the_rooms_on_the_way_import_none_above_them(way: str) -> None:
    named = {
        module
        for stops in lists(section(PAGE, way))
        for stop in stops
        for module in (stop.module, *stop.aside)
    }
    rooms = {name.rpartition(".")[0] for name in named}
    upward = [arrow for folder in ROOMS for arrow in LAUNCHER.upward(folder, ROOMS[folder])]
    assert [arrow for arrow in upward if below(arrow.importer, rooms)] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "1. `launcher/primary/traffic.py`: one.\n2. `launcher/primary/nowhere.py`: made up.",
            "is not there",
        ),
        (
            "1. `launcher/primary/connections/connections.py`: one.\n"
            "2. `launcher/primary/traffic.py`: another.",
            "lies above",
        ),
        (
            "1. `launcher/primary/traffic.py`: one.\n"
            "2. `launcher/primary/processes/reaper.py`: one that it does not use.",
            "no file above imports",
        ),
        (
            "1. `launcher/policy/rescue.py`: asks\n   `launcher/primary/rescue/rescuer.py`.",
            "lies above",
        ),
    ],
    ids=["not there", "upwards", "not called", "asked upwards"],
)
def test_a_way_that_leads_elsewhere_is_found(text: str, fault: str) -> None:
    (stops,) = lists(f"**Made up**\n\n{text}\n")
    assert any(fault in each for each in faults(stops))


# The tables


up_to_date = runpy.run_path(str(ROOT / "docs/state_tables.py"))["up_to_date"]


def test_the_tables_of_states_are_those_of_the_code() -> None:
    assert up_to_date(PAGE) == PAGE, "run: python docs/state_tables.py"


def test_tables_that_are_out_of_date_are_made_anew() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `gone` |"))
    assert up_to_date(PAGE.replace(row, "| `gone` | dead | `online` |")) == PAGE
    assert up_to_date(PAGE.replace(f"{row}\n", "")) == PAGE


# The words


def names_in(module: str) -> set[str]:
    """The classes, functions and methods of a module, these as ``Class.method``."""
    found = set()
    for node in ast.parse(LAUNCHER.modules[module].read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {node.name}
            found |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef)
            }
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def test_the_words_of_the_glossary_are_names_in_the_code() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| `(launcher/[^`]+)\.py`: `([^`]+)` \|$",
        section(PAGE, "Glossary"),
        flags=re.MULTILINE,
    )
    assert len(rows) == section(PAGE, "Glossary").count("\n| ") - 1
    assert len({word for word, _, _ in rows}) == len(rows)
    assert [
        (word, name) for word, path, name in rows if name not in names_in(path.replace("/", "."))
    ] == []
