"""Which lines of logs are wanted: by stream, slot, time and pattern."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from launcher.logs.times import UNKNOWN

__all__ = ["EVERYTHING", "Wanted", "read_since"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a line must be; by default any will do."""

    stream: int = UNKNOWN
    """OUT or ERR; UNKNOWN: whichever. Lines of an unknown stream are wanted with both."""
    source: str | None = None
    """The slot, as a text."""
    since: float = 0.0
    """Seconds since the epoch."""
    pattern: re.Pattern[str] | None = None
    """Somewhere in the line."""

    def takes(self, when: float, source: str, stream: int, text: str) -> bool:
        """Whether this line is wanted."""
        return (
            when >= self.since
            and self.source in (None, source)
            and (stream == self.stream or UNKNOWN in (stream, self.stream))
            and (self.pattern is None or self.pattern.search(text) is not None)
        )


EVERYTHING = Wanted()


def read_since(text: str, now: datetime) -> float:
    """A point in time as seconds since the epoch: so long ago, a time of today, or a date.

    ``90s``, ``10m``, ``2h``, ``1d``; ``14:30``, which is yesterday's where today's is yet to
    come; ``2026-11-22``, ``2026-11-22 14:30``, or ISO 8601, in local time unless it names a
    zone. ValueError for what is none of these; ``now`` has a zone.
    """
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).timestamp()
    clock = re.fullmatch(r"\d\d:\d\d(:\d\d)?", text)
    try:
        when = datetime.fromisoformat(f"{now:%Y-%m-%d} {text}" if clock else text).astimezone()
        if clock and when > now:
            when -= timedelta(days=1)
        return when.timestamp()
    except (ValueError, OverflowError):
        raise ValueError("is no time: write 10m, 2h, 14:30 or 2026-11-22 14:30") from None
