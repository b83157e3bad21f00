"""The terminal while the screen is on it; afterwards it is as it was, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from contextlib import suppress
from types import TracebackType
from typing import Self

from launcher.errors import LauncherError

__all__ = ["Terminal", "keys"]

# Alternate screen, no cursor, lines are cut and not wrapped (xterm's control sequences).
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
# Terminals that know it show a frame only when it is whole; others ignore it.
_BEGIN_FRAME, _END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
_HOME = "\x1b[H"
_PLAIN = "\x1b[0m"

_SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "down",
    "\x1b[D": "up",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "down",
    "\x1bOD": "up",
    "\x1b[Z": "up",
    "\t": "down",
    "j": "down",
    "k": "up",
    "q": "quit",
    "Q": "quit",
    "\x03": "quit",
    "\x04": "quit",
    "r": "reload",
    "+": "more",
    "=": "more",
    "-": "fewer",
    "_": "fewer",
}
"""What each key means. ``=`` and ``_``: + and - with Shift forgotten, or held."""


def keys(typed: str) -> list[str]:
    """The meanings of what was typed; other keys mean nothing."""
    found = []
    while typed:
        length = next((size for size in (3, 1) if typed[:size] in _SEQUENCES), 0)
        if length:
            found.append(_SEQUENCES[typed[:length]])
        typed = typed[length or _ignored(typed) :]
    return found


def _ignored(typed: str) -> int:
    """The length of a key that means nothing: an escape sequence goes up to its last letter."""
    if not typed.startswith(("\x1b[", "\x1bO")):
        return 2 if typed.startswith("\x1b") else 1
    return next((at for at, char in enumerate(typed[2:], 3) if "@" <= char <= "~"), len(typed))


class Terminal:
    """In ``with``: raw keys and the alternate screen."""

    def __init__(self) -> None:
        """LauncherError if there is no terminal to be had."""
        if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
            raise LauncherError("monit needs a terminal; for one frame: monit --once")
        if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            raise LauncherError("monit needs a better terminal than TERM=dumb: see monit --once")
        self.input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._before = termios.tcgetattr(self.input)

    def __enter__(self) -> Self:
        tty.setcbreak(self.input, termios.TCSANOW)
        self._write(_ENTER)
        return self

    def suspend(self) -> None:
        """Give the terminal back and stop, as Ctrl-Z asks; returns when we go on."""
        self.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # it may be gone
            self._write(_PLAIN + _END_FRAME + _LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self.input, termios.TCSANOW, self._before)

    def size(self) -> tuple[int, int]:
        """Columns and rows as they are now."""
        columns, rows = os.get_terminal_size(self._output)
        return columns or 80, rows or 24

    def read(self) -> list[str] | None:
        """The keys that were pressed; None when the terminal is gone."""
        try:
            typed = os.read(self.input, 1024)
        except OSError:
            return None
        return keys(typed.decode(errors="replace")) if typed else None

    def show(self, lines: list[str]) -> None:
        """Show a frame; its lines are as wide as the terminal, so nothing need be erased."""
        rows = "\r\n".join(lines)
        self._write(f"{_BEGIN_FRAME}{_HOME}{rows}{_PLAIN}{_END_FRAME}")

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._output, data) :]
