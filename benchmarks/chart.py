"""One chart, as SVG by hand: CPU per request of every server, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.campaign import Results
from benchmarks.machine import Machine
from benchmarks.peers import Peer

WIDTH = 820
LEFT = 196
"""Where the bars begin; the names end a little before."""
RIGHT = 120
"""Room for the figures behind the longest bar."""
TOP = 104
BAR = 13
GROUP = 42
"""From one server to the next."""
BOTTOM = 60

CAVEAT = (
    "\N{MULTIPLICATION SIGN}: relative to launcher. "
    "gunicorn sync and uWSGI's HTTP socket close every connection, also where it may be kept."
)

STYLE = """
  .page { fill: #ffffff } .ink { fill: #1f2328 } .quiet { fill: #59636e }
  .keepalive { fill: #8c959f } .close { fill: #c9d1d9 } .line { stroke: #d1d9e0 }
  .ours.keepalive { fill: #0969da } .ours.close { fill: #80b8f5 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .title { font-size: 17px; font-weight: 600 } .ours.name { font-weight: 600 }
  .small { font-size: 11.5px } .end { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .keepalive { fill: #818b98 } .close { fill: #434c56 } .line { stroke: #3d444d }
    .ours.keepalive { fill: #4493f8 } .ours.close { fill: #1f4f8f }
  }
"""


@dataclass(frozen=True)
class Row:
    """A server's two bars, in µs; None where it was not measured."""

    title: str
    ours: bool
    keepalive: float | None
    close: float | None

    @property
    def order(self) -> tuple[bool, float]:
        """Ours first, then the cheapest."""
        return (not self.ours, self.keepalive or self.close or 0.0)


def rows_of(results: Results, peers: Sequence[Peer]) -> list[Row]:
    """What the chart shows: without the variants of ours, which are for its developers."""
    rows = []
    for peer in peers:
        if peer.key.startswith("ours-"):
            continue
        keepalive = results.summary("keepalive", peer.key).get("cpu_us")
        close = results.summary("close", peer.key).get("cpu_us")
        if keepalive is not None or close is not None:
            rows.append(Row(peer.name, peer.key == "ours", keepalive, close))
    return sorted(rows, key=lambda row: row.order)


def draw(rows: Sequence[Row], machine: Machine, note: str) -> str:
    """The SVG. Each figure is also relative to ours, if there is ours."""
    height = TOP + GROUP * len(rows) + BOTTOM
    longest = max((v for row in rows for v in (row.keepalive, row.close) if v), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / longest
    ours = next((row for row in rows if row.ours), None)
    groups = [_group(row, TOP + GROUP * i, scale, ours) for i, row in enumerate(rows)]
    about = f"{machine.cpu}, {machine.cores} cores, {machine.kernel}, {machine.versions()}, "
    about += machine.date
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">',
        '<title id="title">Server CPU time per request</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
        _text(24, 36, "Server CPU time per request, in microseconds", "title ink"),
        _text(24, 57, f"All processes of the server; less is better. {note}", "quiet"),
        *_legend(),
        f'<line class="line" x1="{LEFT}" x2="{LEFT}" y1="{TOP - 4}" y2="{height - BOTTOM}"/>',
        *groups,
        _text(24, height - 36, CAVEAT, "quiet small"),
        _text(24, height - 18, about, "quiet small"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> list[str]:
    return [
        f'<rect class="ours keepalive" x="{LEFT}" y="72" width="12" height="12" rx="2"/>',
        f'<rect class="keepalive" x="{LEFT + 15}" y="72" width="12" height="12" rx="2"/>',
        _text(LEFT + 34, 83, "keep-alive", "ink"),
        f'<rect class="ours close" x="{LEFT + 130}" y="72" width="12" height="12" rx="2"/>',
        f'<rect class="close" x="{LEFT + 145}" y="72" width="12" height="12" rx="2"/>',
        _text(LEFT + 164, 83, "a connection per request", "ink"),
    ]


def _group(row: Row, y: int, scale: float, ours: Row | None) -> str:
    kind = "ours " if row.ours else ""
    name = _text(LEFT - 12, y + BAR + 5, row.title, f"{kind}name ink end")
    keepalive = _bar(y, row.keepalive, scale, f"{kind}keepalive", ours.keepalive if ours else None)
    close = _bar(y + BAR + 2, row.close, scale, f"{kind}close", ours.close if ours else None)
    return "\n".join((name, keepalive, close))


def _bar(y: int, value: float | None, scale: float, kind: str, ours: float | None) -> str:
    if value is None:
        return ""
    width = round(value * scale, 1)
    bar = f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="2"/>'
    relative = f" · {value / ours:.2f}\N{MULTIPLICATION SIGN}" if ours else ""
    return bar + _text(LEFT + width + 7, y + BAR - 2.5, f"{value:.0f}{relative}", "ink small")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
