"""The picture: what is known becomes lines that fit. No process, no terminal."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from launcher.cli.asking.facts import Facts, stopped
from launcher.cli.monit.frame import frame
from launcher.cli.monit.graph import steps
from launcher.cli.monit.lines import show_time
from launcher.cli.monit.view import ASCII, View
from launcher.logs.reading import Line
from launcher.state.home import Entry

UGLY = "\x1b[2J\x07\x9b31m\u202eevil\x7f\r\n\t"
"""Clears the screen, rings, colours, and turns the direction of what follows."""


def worker(slot: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": slot + 1,
        "slot": slot,
        "pid": 4250 + slot,
        "generation": 1,
        "status": "online",
        "uptime": 3.2,
        "requests": 600,
        "active": 1,
        "streaming": 0,
        "threads": 4,
        "threads_max": 64,
        "connections": 2,
        "rss": 31457280,
        "cpu": 1.5,
        **changes,
    }


def cluster(
    name: str = "web",
    workers: int | list[dict[str, Any]] = 2,
    active: tuple[Any, ...] = (),
    **changes: Any,
) -> Facts:
    """A cluster that has answered, with so many workers like all others, or with these."""
    if isinstance(workers, int):
        workers = [worker(slot) for slot in range(workers)]
    status = {
        "name": name,
        "status": "online",
        "pid": 4242,
        "app": "app:create_app()",
        "bind": ["127.0.0.1:3000"],
        "policy": "round-robin",
        "generation": 1,
        "uptime": 187.0,
        "workers_wanted": len(workers),
        "sizing": "2: one per CPU",
        "connections": 3,
        "waiting": 0,
        "active": len(workers),
        "streaming": 0,
        "requests": 1200,
        "last_exits": [],
        "restarts": {"crash": 1, "timeout": 0, "memory": 0, "recycle": 0, "reload": 4},
        "error": None,
        "workers": workers,
        **changes,
    }
    lately = {"requests_per_second": 61.5, "p50": 0.0012, "p99": 0.25}
    each = [{"id": slot + 1, **lately} for slot in range(len(workers))]
    told = {**lately, "p99": 0.31, "status": status, "workers": each, "active": [*active]}
    return Facts(status, {}, 123.0, answered=True, activity=told)


def silent(name: str, **changes: Any) -> Facts:
    """A cluster that has not."""
    return Facts(stopped(Entry(name, None, None)) | changes, {})


def request(age: float, text: str, slot: int = 0) -> dict[str, Any]:
    return {"id": slot + 1, "slot": slot, "age": age, "request": text}


def drawn(view: View, width: int = 80, height: int | None = 24) -> list[str]:
    return [line.plain.rstrip() for line in frame(view, width, height)]


FULL = View(
    [
        silent("api", status="stopped"),
        cluster(active=(request(12.0, "GET /slow"), request(0.004, "POST /upload?…", 1))),
        silent("mail", status="errored", pid=99, error="cluster 'mail' does not answer"),
    ],
    selected=1,
    lines=[Line(1.0, "0", "hello"), Line(2.0, "primary", "ready")],
    corner="12:00:00",
)


def test_the_whole_picture_at_80_columns() -> None:
    assert drawn(FULL, 80, 18) == [
        " launcher monit                               3 clusters · 2 workers · 12:00:00",
        " name     status        pid restarts req/s   p50   p99    busy conns  cpu memory",
        "   api    stopped",
        " ▸ web    online 2/2   4242      1/4   123 1.2ms 310ms   2/128     3   3%  60.0M",
        "   ├ 0 #1 online       4250             62 1.2ms 250ms    1/64     2   2%  30.0M",
        "   └ 1 #2 online       4251             62 1.2ms 250ms    1/64     2   2%  30.0M",
        "   mail   errored        99",
        "    cluster 'mail' does not answer",
        "─ running requests of web ────────────────────────────────────────────────── 2 ─",
        "   12s   0 #1  GET /slow",
        " 4.0ms   1 #2  POST /upload?…",
        "─ log of web ───────────────────────────────────────────────────────────────────",
        "       0 hello",
        " primary ready",
        "",
        "",
        "",
        "  q  quit   r  reload   + -  scale   ↑↓  cluster",
    ]


def test_more_room_shows_more() -> None:
    lines = drawn(FULL, 160, 50)
    assert len(lines) == 50
    assert "uptime" in lines[2]
    assert "3m07s" in "".join(lines)
    assert " app:create_app() · 127.0.0.1:3000 · round-robin · generation 1" in lines
    beside = [line for line in lines if "running requests" in line]
    assert ["log of web" in line for line in beside] == [True]
    (row,) = [line for line in lines if "GET /slow" in line]
    assert row.endswith("hello")


def test_where_there_is_room_it_tells_streams_and_threads() -> None:
    workers = [worker(0, active=6, streaming=2, threads=7), worker(1, active=0)]
    view = View([cluster(workers=workers, streaming=2)])
    heading, web, first, second = (line.split() for line in drawn(view, 103, 24)[1:5])
    at = slice(-6, -3)
    assert heading[at] == ["busy", "streams", "threads"]
    assert (web[at], first[at]) == (["6/128", "2", "11"], ["6/64", "2", "7"])
    assert second[at] == ["0/64", "0", "4"]
    assert "threads" not in "\n".join(drawn(view, 102, 24)), "it goes first"


def test_what_waits_is_told_below_its_cluster() -> None:
    clusters = [cluster("api", waiting=1), cluster("web", waiting=12, error="app fails")]
    for selected in (0, 1):
        lines = drawn(View(clusters, selected))
        place = next(index for index, line in enumerate(lines) if "api " in line)
        assert lines[place + 1] == "    1 request waits for a thread: 2 of 8 are busy; at most 128"
        place = next(index for index, line in enumerate(lines) if "web " in line)
        assert lines[place + 1 : place + 3] == [
            "    app fails",
            "    12 requests wait for a thread: 2 of 8 are busy; at most 128",
        ]
    assert not [line for line in drawn(FULL) if "wait" in line]


def test_how_the_requests_have_been() -> None:
    view = dataclasses.replace(FULL, rates=[0.0, 50.0, 100.0, 25.0])
    assert " requests/s ▁▄█▂  at most 100" in drawn(view, 160, 36)
    assert " requests/s _-#.  at most 100" in drawn(
        dataclasses.replace(view, glyphs=ASCII), 160, 36
    )


def test_what_stands_on_the_left_does_not_colour_what_is_beside_it() -> None:
    idle = dataclasses.replace(FULL, clusters=[cluster("web", 1)], selected=0)
    (row,) = [line for line in frame(idle, 160, 50) if line.plain.endswith("hello")]
    assert "none" in row.plain, "its style is that of a whole line"
    assert row.style == ""
    place = row.plain.index("hello")
    assert not [span for span in row.spans if span.start <= place < span.end and span.style]


def test_without_requests_there_is_no_peak() -> None:
    view = dataclasses.replace(FULL, rates=[0.0, 0.0])
    assert " requests/s ▁▁  at most 0" in drawn(view, 160, 36)


WIDTHS = [1, 2, 7, 20, 39, 40, 79, 80, 81, 119, 120, 160, 300]
HEIGHTS = [1, 2, 3, 5, 6, 7, 10, 24, 29, 30, 50, 120]


def test_it_fits_every_terminal(subtests: pytest.Subtests) -> None:
    running = tuple(request(age, f"GET /{age}") for age in range(40))
    many = [cluster(f"c{index}", 9, running, error="wrong " * 40) for index in range(30)]
    lines = [Line(1.0, str(index % 9), f"line {index}\t日本語" * 9) for index in range(99)]
    views = {
        "empty": View(),
        "ordinary": FULL,
        "too much": View(
            [*many, silent("s" * 64)], 17, lines, message="m" * 400, rates=[1.0] * 300
        ),
    }
    for name, width, height in itertools.product(views, WIDTHS, HEIGHTS):
        with subtests.test(f"{name}, {width} x {height}"):
            picture = frame(views[name], width, height)
            assert len(picture) == height
            assert max(cell_len(line.plain) for line in picture) <= width
            assert not any("\n" in line.plain for line in picture)


@pytest.mark.parametrize("height", [4, 6, 10, 24])
@pytest.mark.parametrize("selected", [0, 14, 29])
def test_the_selected_cluster_is_always_to_be_seen(height: int, selected: int) -> None:
    many = [cluster(f"c{index}", 6) for index in range(30)]
    lines = drawn(View(many, selected), 80, height)
    assert [line for line in lines if line.startswith(f" ▸ c{selected} ")]


def test_workers_that_do_not_fit_are_counted() -> None:
    lines = drawn(View([cluster(workers=40)]), 80, 24)
    shown = sum("online  " in line and "#" in line for line in lines)
    assert f"  … {40 - shown} more workers" in lines


def test_everything_is_printed_once() -> None:
    lines = drawn(dataclasses.replace(FULL, live=False), 80, None)
    assert not [line for line in lines if "quit" in line]
    assert "       0 hello" in lines
    many = dataclasses.replace(FULL, clusters=[cluster(workers=200)], selected=0)
    assert sum("#" in line and "online" in line for line in drawn(many, 80, None)) == 200


def test_nothing_is_there() -> None:
    assert "no clusters; start one: python -m launcher start" in "\n".join(drawn(View()))
    assert len(drawn(View(live=False), 80, None)) == 3


def test_control_characters_are_shown_and_not_sent() -> None:
    view = View(
        [
            cluster(UGLY, active=(request(1, UGLY),), app=UGLY, bind=[UGLY], error=UGLY),
            silent(UGLY, error=UGLY, status=UGLY),
        ],
        lines=[Line(1.0, "0", UGLY)],
        log_problem=UGLY,
        message=UGLY,
    )
    for selected in (0, 1):
        for width in (40, 160):
            picture = frame(dataclasses.replace(view, selected=selected), width, 60)
            text = "\n".join(line.plain for line in picture)
            assert text.replace("\n", "").isprintable()
            assert "evil" in text


def test_markup_and_emoji_codes_of_others_mean_nothing() -> None:
    view = View([cluster(active=(request(1, "GET /[red]x[/]:smile:"),))])
    console = Console(width=80, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(Text("\n").join(frame(view, 80, 24)))
    assert "GET /[red]x[/]:smile:" in captured.get()


def test_a_slot_without_a_worker_is_shown() -> None:
    facts = cluster()
    facts.status["workers"][1] = worker(1, pid=None, id=0, status="backoff")
    lines = drawn(View([facts]))
    assert [line for line in lines if line.startswith("   └ 1    backoff")]
    assert [line for line in lines if "online 1/2" in line]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0µs"),
        (0.000_85, "850µs"),
        (0.0012, "1.2ms"),
        (0.045, "45ms"),
        (0.9994, "999ms"),
        (1.25, "1.2s"),
        (12.3, "12s"),
        (250.0, "4m"),
        (36_000.0, "600m"),
    ],
)
def test_times_are_short(seconds: float | None, shown: str) -> None:
    assert show_time(seconds) == shown


def test_graphs_fill_their_rows_and_show_what_is_little() -> None:
    assert steps([0, 1, 8, 16], 2, "12345678") == ["   8", "1188"]
    assert steps([0.0, 0.0], 1, "12") == ["11"]
    assert steps([5], 1, "1234") == ["4"]


def test_a_large_screen_shows_what_went_before() -> None:
    exit_ = {"slot": 1, "id": 3, "pid": 7, "generation": 1, "code": None, "signal": "SIGKILL"}
    view = View(
        [cluster(last_exits=[exit_ | {"reason": "crash", "when": 86_400.0}])],
        rates=[1.0, 4.0, 2.0],
        times=[0.0004, 0.002, 0.001],
        lines=[Line(86_400.0, "0", "hello")],
    )
    clock = time.strftime("%H:%M:%S", time.localtime(86_400.0))
    picture = drawn(view, 160, 50)
    assert any(line.startswith(" requests/s ") and "at most 4.0" in line for line in picture)
    start = next(i for i, line in enumerate(picture) if line.startswith(" p99 "))
    assert picture[start].endswith("at most 2.0ms")
    assert picture[start + 3].strip() == "▇██".replace("▇", picture[start + 3].strip()[0])
    place = next(i for i, line in enumerate(picture) if "last exits of web" in line)
    assert picture[place + 1] == f"  1 #3  {clock}  SIGKILL, crash"
    assert any(f" {clock} 0 hello" in line for line in picture)
    small = drawn(view, 80, 24)
    assert not any("last exits" in line or clock in line for line in small)
