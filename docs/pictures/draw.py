"""Draws the README's pictures from what the program prints.

``python docs/pictures/draw.py`` makes them anew, beside this file; with a folder as its argument,
there. Port 3000 has to be free, and curl is needed. tests/test_pictures.py has them made too, and
compares the words.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH, ROWS = 96, 17
LAUNCHER = shlex.join([sys.executable, "-m", "launcher"])
ASK = r"curl -w '\n' localhost:3000/clustered"
ASK_ON = f"for i in {{1..300}}; do {ASK}; done > answers &"
FRAME = re.compile(rb"\x1b\[\?2026h\x1b\[H(.*?)\x1b\[\?2026l", re.DOTALL)


class Shell:
    """A bash in which ``launcher`` is the command of this Python's launcher."""

    def __init__(self, environment: dict[str, str], folder: str) -> None:
        self._bash = subprocess.Popen(
            ["bash"],  # noqa: S607, the reader's
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.run(f'launcher() {{ {LAUNCHER} "$@"; }}')

    def run(self, command: str) -> str:
        """What the command prints."""
        assert self._bash.stdin
        assert self._bash.stdout
        self._bash.stdin.write(f"{command}\nprintf '\\0'\n".encode())
        self._bash.stdin.flush()
        printed = b""
        while not printed.endswith(b"\0"):
            if not (more := os.read(self._bash.stdout.fileno(), 65536)):
                raise EOFError(f"bash ended at {command!r}: {printed!r}")
            printed += more
        return printed[:-1].decode()

    def close(self) -> None:
        """Delete what was started."""
        self.run("launcher delete all; wait")
        self._bash.communicate(timeout=10)


def session(shell: Shell) -> Text:
    """Two workers take turns; one of them is killed while 300 requests are sent; none is lost."""
    drawn = Text()

    def typed(command: str) -> str:
        printed = shell.run(command)
        drawn.append("$ ", "bold green").append(f"{command}\n", "bold").append(printed)
        return printed

    typed("launcher start --workers 2")
    for _ in range(4):
        typed(ASK)
    typed(ASK_ON)
    worker = json.loads(typed("curl localhost:3000/whoami"))
    typed(f"kill -9 {worker['pid']}")
    typed("wait; grep -c Running answers")
    typed("launcher list")
    return drawn


def monit(shell: Shell, environment: dict[str, str]) -> Text:
    """The live screen, while requests are sent."""
    shell.run(ASK_ON)
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", ROWS, WIDTH, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "launcher", "monit"],
        env={**environment, "TERM": "xterm-256color"},
        stdin=its,
        stdout=its,
        stderr=its,
    ):
        os.close(its)
        shown = _frames(ours, within=2.5)
        os.write(ours, b"q")
    os.close(ours)
    frame = FRAME.findall(shown)[-1].decode().replace("\r", "")
    return Text("\n").join(Text.from_ansi(row) for row in frame.split("\n"))


def _frames(terminal: int, within: float) -> bytes:
    """What is shown until then: rates are averages of the last seconds."""
    shown, end = b"", time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 65536)
    return shown


def draw(name: str, text: Text, folder: Path) -> None:
    """Write NAME.svg. Its fonts are the reader's: nothing is fetched."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(text, end="", no_wrap=True, crop=True, highlight=False)
    svg = console.export_svg(title="launcher", unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    lines = [line.rstrip() for line in svg.splitlines()]
    (folder / f"{name}.svg").write_text("\n".join(filter(None, lines)) + "\n")


def main(folder: Path) -> None:
    """Draw all of them."""
    ours = ("LAUNCHER_", "WEB_CONCURRENCY", "PORT", "COLUMNS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / ".curlrc").write_text("silent\nshow-error\n")  # as in a terminal
        environment = {
            **kept,
            "LAUNCHER_HOME": f"{place}/home",
            "CURL_HOME": place,
            "PYTHONPATH": str(HERE.parents[1]),
            "COLUMNS": str(WIDTH),
        }
        shell = Shell(environment, place)
        try:
            draw("session", session(shell), folder)
            draw("monit", monit(shell, environment), folder)
        finally:
            shell.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
