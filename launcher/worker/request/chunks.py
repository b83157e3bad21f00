"""Where a chunked body ends (RFC 9112 section 7.1)."""

from __future__ import annotations

import re
from enum import Enum, auto

from gunicorn.http.body import CHUNK_EXT_RE


class _Place(Enum):
    """Where in a chunked body the next line is."""

    SIZE = auto()
    DATA_END = auto()
    TRAILERS = auto()


class ChunkScanner:
    """Finds the end of a chunked body (RFC 9112 section 7.1) as its bytes come in.

    The scanner decides only where the body ends. gunicorn's parser gets all of the body
    and says whether it is well formed. Bytes that cannot be chunked coding end the
    body at once, so that the parser refuses it now and does not wait for more.
    """

    _MOST_LINE = 8192
    _MOST_TRAILERS = 64 * 1024
    _MOST_EXCESS = 16 * 1024
    """Bytes of chunk extensions that no data makes up for; see `_exceeds`."""
    _SIZE_LINE = re.compile(rb"0*([0-9A-Fa-f]{1,16})" + CHUNK_EXT_RE.pattern + rb"\r\n")
    """No more than 16 digits, which no file is long enough for: "anticipate potentially large
    hexadecimal numerals" (section 7.1). Go's net/http has the same bound."""
    _SIZE_LINE_BEGUN = re.compile(rb"0*[0-9A-Fa-f]{0,16}(?:(?<=[0-9A-Fa-f])(?:[ \t;][^\r]*)?\r?)?")

    def __init__(self) -> None:
        self.done = False
        self.size = 0
        """Bytes of data in the chunks so far, the current one counted whole."""
        self._place = _Place.SIZE
        self._left = 0
        """Bytes of the current chunk that have not come yet."""
        self._line = b""
        self._trailers = 0
        self._excess = 0

    def feed(self, data: bytes) -> int:
        """How many of ``data``'s bytes belong to the body."""
        used = 0
        while used < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - used)
                self._left -= step
                used += step
            else:
                used = self._feed_line(data, used)
        return used

    def _feed_line(self, data: bytes, start: int) -> int:
        end = data.find(b"\n", start) + 1
        self._line += data[start : end or len(data)]
        if end:
            line, self._line = self._line, b""
            self.done = len(line) > self._MOST_LINE or not self._goes_on_after(line)
        else:
            self.done = len(self._line) > self._MOST_LINE or not self._may_go_on(self._line)
        return end or len(data)

    def _may_go_on(self, begun: bytes) -> bool:
        """Whether these bytes can be the beginning of a right line."""
        if self._place is _Place.DATA_END:
            return begun == b"\r"
        return self._place is not _Place.SIZE or bool(self._SIZE_LINE_BEGUN.fullmatch(begun))

    def _goes_on_after(self, line: bytes) -> bool:
        if self._place is _Place.TRAILERS:
            self._trailers += len(line)
            too_many = self._trailers > self._MOST_TRAILERS
            field = (
                line.find(b":") > 0 or line[0] in b" \t"
            )  # or the line goes on with the field before (folding)
            return field and line.endswith(b"\r\n") and not too_many
        if self._place is _Place.DATA_END:
            self._place = _Place.SIZE
            return line == b"\r\n"
        size = self._SIZE_LINE.fullmatch(line)
        self._left = int(size[1], 16) if size else 0
        self.size += self._left
        self._place = _Place.DATA_END if self._left else _Place.TRAILERS
        return bool(size) and not self._exceeds(len(line))

    def _exceeds(self, line: int) -> bool:
        """Whether too much of the body is not data (section 7.1.1), by the rule of Go's net/http.

        A chunk may have 16 bytes of framing and twice as much as its data; what
        is beyond that adds up.
        """
        self._excess = max(0, self._excess + line - 16 - 2 * self._left)
        return self._excess > self._MOST_EXCESS
