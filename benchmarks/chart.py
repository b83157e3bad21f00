"""One chart, as SVG by hand, readable in light and dark: the app that waits, then what a request
costs where nothing waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import MORE_IS_BETTER, Lookup, best, of_variants
from benchmarks.machine import Machine
from benchmarks.peers import Peer

WIDTH = 820
LEFT = 196
"""Where the bars begin; the names end a little before."""
RIGHT = 120
"""Room for the figures behind the longest bar."""
HEAD = 104
"""From the top of a panel to its first bar."""
BAR = 13
GAP = 12
"""Between the bars of two servers."""
BOTTOM = 42

SHADES = ("first", "second", "third")
"""The classes of a panel's series, in order."""

STYLE = """
  .page { fill: #ffffff } .ink { fill: #1f2328 } .quiet { fill: #59636e }
  .first { fill: #8c959f } .second { fill: #b1b9c2 } .third { fill: #d4dae0 }
  .ours.first { fill: #0969da } .ours.second { fill: #54a0f0 } .ours.third { fill: #a5cdf8 }
  .line { stroke: #d1d9e0 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .title { font-size: 17px; font-weight: 600 } .ours.name { font-weight: 600 }
  .small { font-size: 11.5px } .end { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .first { fill: #818b98 } .second { fill: #5d6772 } .third { fill: #3d444d }
    .ours.first { fill: #4493f8 } .ours.second { fill: #2a69b8 } .ours.third { fill: #1b4375 }
    .line { stroke: #3d444d }
  }
"""


@dataclass(frozen=True)
class Panel:
    """One figure of several scenarios, of the servers it is asked of."""

    title: str
    note: str
    figure: str
    series: tuple[tuple[str, str], ...]
    """What each bar of a server is called, and its scenario."""
    asked: Callable[[Peer], bool]
    caveat: str


PANELS = (
    Panel(
        "Requests per second where the app waits",
        "More is better.",
        "rate",
        (
            ("every request 10 ms", "waits-10ms"),
            ("1 in 10 for 50 ms", "mixed"),
            ("a row from PostgreSQL in 1 ms", "database-1ms"),
        ),
        lambda peer: peer.waits,
        "gunicorn gthread and uWSGI: the best of 4, 16 and 64 threads; granian: or its own number.",
    ),
    Panel(
        "Server CPU time per request where nothing waits, in microseconds",
        "All processes of the server; less is better.",
        "cpu_us",
        (("keep-alive", "keepalive"), ("a connection per request", "close")),
        lambda peer: peer.rests,
        "gunicorn sync and uWSGI's HTTP socket close every connection, also where it may be kept.",
    ),
)


@dataclass(frozen=True)
class Row:
    """A server's bars, one for each series; None where it was not measured."""

    title: str
    ours: bool
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Filled:
    """A panel with its rows."""

    panel: Panel
    rows: tuple[Row, ...]

    @property
    def group(self) -> int:
        """The height of a server's bars with the gap behind them."""
        return len(self.panel.series) * (BAR + 2) + GAP

    @property
    def height(self) -> int:
        return HEAD + self.group * len(self.rows) + BOTTOM


def filled(lookup: Lookup, peers: Sequence[Peer]) -> list[Filled]:
    """The panels of which something was measured."""
    both = (Filled(panel, tuple(rows_of(lookup, peers, panel))) for panel in PANELS)
    return [each for each in both if each.rows]


def rows_of(lookup: Lookup, peers: Sequence[Peer], panel: Panel) -> list[Row]:
    """Ours first, then the best. Without the variants of ours, which are for its developers."""
    shown = {peer.family or peer.key: peer for peer in peers if panel.asked(peer)}
    rows = []
    for server, peer in shown.items():
        measured = (of_variants(lookup, scenario, server) for _, scenario in panel.series)
        values = tuple(best(panel.figure, (f.get(panel.figure) for f in each)) for each in measured)
        if any(values) and not server.startswith("ours-"):
            rows.append(Row(peer.name, server == "ours", values))
    sign = -1 if panel.figure in MORE_IS_BETTER else 1
    return sorted(rows, key=lambda row: (not row.ours, sign * next(filter(None, row.values))))


def draw(panels: Sequence[Filled], machine: Machine, note: str) -> str:
    """The SVG. Each figure is also relative to ours, if there is ours."""
    height = sum(each.height for each in panels) + 24
    about = f"{machine.cpu}, {machine.cores} cores, {machine.kernel}, {machine.versions()}, "
    about += machine.date
    title = "; ".join(each.panel.title for each in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">',
        f'<title id="title">{escape(title)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
    ]
    top = 0
    for each in panels:
        parts += _panel(each, top, note)
        top += each.height
    return "\n".join([*parts, _text(24, height - 18, about, "quiet small"), "</svg>"]) + "\n"


def _panel(each: Filled, top: int, note: str) -> Iterator[str]:
    panel, rows = each.panel, each.rows
    longest = max((value for row in rows for value in row.values if value), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / longest
    ours = next((row.values for row in rows if row.ours), (None,) * len(panel.series))
    end = top + each.height - BOTTOM
    yield _text(24, top + 36, panel.title, "title ink")
    yield _text(24, top + 57, f"{panel.note} {note}", "quiet")
    yield from _legend([name for name, _ in panel.series], top + 72)
    yield f'<line class="line" x1="{LEFT}" x2="{LEFT}" y1="{top + HEAD - 4}" y2="{end}"/>'
    for i, row in enumerate(rows):
        yield from _group(row, top + HEAD + each.group * i, scale, ours)
    caveat = panel.caveat
    if any(ours):
        caveat = f"\N{MULTIPLICATION SIGN}: relative to launcher. {caveat}"
    yield _text(24, end + 24, caveat, "quiet small")


def _legend(names: Iterable[str], y: int) -> Iterator[str]:
    x = LEFT
    for name, shade in zip(names, SHADES, strict=False):
        yield f'<rect class="ours {shade}" x="{x}" y="{y}" width="12" height="12" rx="2"/>'
        yield f'<rect class="{shade}" x="{x + 15}" y="{y}" width="12" height="12" rx="2"/>'
        yield _text(x + 34, y + 11, name, "ink")
        x += 58 + round(6.8 * len(name))


def _group(row: Row, y: int, scale: float, ours: Sequence[float | None]) -> Iterator[str]:
    kind = "ours " if row.ours else ""
    middle = y + len(row.values) * (BAR + 2) / 2 + 4
    yield _text(LEFT - 12, middle, row.title, f"{kind}name ink end")
    for i, (value, base) in enumerate(zip(row.values, ours, strict=True)):
        if value is not None:
            yield from _bar(y + i * (BAR + 2), value, scale, f"{kind}{SHADES[i]}", base)


def _bar(y: int, value: float, scale: float, kind: str, ours: float | None) -> Iterator[str]:
    width = round(value * scale, 1)
    yield f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="2"/>'
    relative = f" · {value / ours:.2f}\N{MULTIPLICATION SIGN}" if ours else ""
    yield _text(LEFT + width + 7, y + BAR - 2.5, f"{value:,.0f}{relative}", "ink small")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
