"""A terminal with ``monit`` on it, and somebody who types and looks."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence

from tests.cli.tools import Console
from tests.support import eventually

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_ENTERED = "\x1b[?1049h"
_LEFT = "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""Lines wrap, there is a cursor, and it is the normal screen again."""


class Screen:
    """``monit`` as the foreground process of a pseudo-terminal."""

    def __init__(self, console: Console, arguments: Sequence[str], columns: int, rows: int) -> None:
        self._master, self._terminal = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self._terminal)
        self._output = ""
        terminal = self._terminal
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "monit", *arguments],
            cwd=console.folder,
            env=console.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"},
            preexec_fn=lambda: os.login_tty(terminal),
            pass_fds=(terminal,),
        )

    def resize(self, columns: int, rows: int) -> None:
        """As somebody who drags the window's corner."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def press(self, typed: str) -> None:
        """Type something."""
        os.write(self._master, typed.encode())

    @property
    def output(self) -> str:
        """All that has been sent to the terminal."""
        while select.select([self._master], [], [], 0)[0]:
            self._output += os.read(self._master, 65536).decode(errors="replace")
        return self._output

    @property
    def lines(self) -> list[str]:
        """The rows of the last whole frame, without colours."""
        whole = self.output.rpartition(_END)[0].rpartition(_BEGIN)[2]
        return [line.rstrip() for line in _CONTROL.sub("", whole).split("\r\n")]

    def shows(self, *texts: str, within: float = 20) -> list[str]:
        """Wait for a frame with all of the texts in it."""

        def look() -> list[str] | None:
            lines = self.lines
            picture = "\n".join(lines)
            assert all(text in picture for text in texts), picture
            return lines

        return eventually(look, within)

    def has_rows(self, rows: int) -> None:
        """Wait for a frame of that height."""
        eventually(lambda: len(self.lines) == rows)

    def ended(self, within: float = 10) -> int:
        """The exit status, once it has ended; the terminal must be as it was."""
        eventually(lambda: self.output is not None and self.process.poll() is not None, within)
        assert self.restored()
        return self.process.returncode

    def restored(self) -> bool:
        """Whether the terminal is as it was before."""
        left = self.output.rfind(_LEFT) > self.output.rfind(_ENTERED)
        return left and termios.tcgetattr(self._terminal) == self.before

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._terminal)
