"""The loop of the live screen, and the single frame.

One thread owns everything here and waits for one thing: the next key, signal,
answer or second. Whatever may take longer is an errand.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from launcher.cli.asking.changing import load, scale_to
from launcher.cli.asking.facts import Facts, activity_of, stopped
from launcher.cli.asking.parallel import in_parallel
from launcher.cli.monit.frame import frame
from launcher.cli.monit.gather import Errands, Logs, first_choice
from launcher.cli.monit.terminal import Terminal
from launcher.cli.monit.view import ASCII, UNICODE, Glyphs, View
from launcher.errors import LauncherError
from launcher.logs.reading import Line
from launcher.state.home import Entry, Home

__all__ = ["live", "once"]

EVERY = 1.0
"""Seconds between questions."""

MESSAGE_STAYS = 10.0
HISTORY = 300
ONCE_LINES = 15

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HANDLED = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


def once(home: Home | None, only: str | None, width: int) -> list[Facts]:
    """Print one frame, as high as it comes; what was found."""
    names = _names(home, only)
    name = only or first_choice(home, names)
    found: list[Facts] = []
    lines: list[Line] = []
    problem = ""
    if home:
        looked = in_parallel(lambda each: activity_of(home, each), names)
        found = [facts for facts in looked if facts]
        try:
            lines = Logs(home, name).read()[-ONCE_LINES:] if name else []
        except LauncherError as error:
            problem = str(error)
    selected = next((i for i, facts in enumerate(found) if facts.status["name"] == name), 0)
    view = View(found, selected, lines, problem, live=False, glyphs=_glyphs())
    text = _rendered(frame(view, width, None), width)
    print("\n".join(line.rstrip() for line in text))
    return found


def live(home: Home | None, only: str | None) -> int:
    """Show the screen until the user quits; the exit status."""
    terminal = Terminal()
    with _wakeups() as wakeups, terminal:
        return _Screen(home, only, terminal, wakeups).run()


class _Screen:
    """What is known, what is selected, and what to do when something happens."""

    def __init__(
        self, home: Home | None, only: str | None, terminal: Terminal, wakeups: int
    ) -> None:
        self._home = home
        self._only = only
        self._terminal = terminal
        self._wakeups = wakeups
        self._errands = Errands()
        self._names = _names(home, only)
        self._name = only or first_choice(home, self._names)
        self._facts: dict[str, Facts] = {}
        self._rates: dict[str, deque[float]] = {}
        self._times: dict[str, deque[float]] = {}
        self._asked: set[str] = set()
        """Those whose answer is awaited."""
        self._logs: dict[str, Logs] = {}
        self._reading: set[str] = set()
        self._lines: dict[str, list[Line]] = {}
        self._log_problems: dict[str, str] = {}
        self._busy: dict[str, str] = {}
        """What is being done to a cluster because of a key."""
        self._message, self._failed, self._message_until = "", False, 0.0
        self._status: int | None = None

    def run(self) -> int:
        poll = select.poll()
        for fd in (self._terminal.input, self._wakeups, self._errands.fd):
            poll.register(fd, select.POLLIN)
        due = time.monotonic()
        while self._status is None:
            if time.monotonic() >= due:
                due = time.monotonic() + EVERY
                self._tick()
            self._draw()
            for fd, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000 + 1):
                self._happened(fd)
        return self._status

    # What happens

    def _happened(self, fd: int) -> None:
        if fd == self._wakeups:
            for number in os.read(fd, 1024):
                self._signalled(number)
        elif fd == self._errands.fd:
            self._errands.collect()
        else:
            self._typed()

    def _signalled(self, number: int) -> None:
        if number in _ENDING:
            self._status = 0 if number == signal.SIGINT else 128 + number
        elif number == signal.SIGTSTP:
            self._terminal.suspend()
        elif number == signal.SIGCONT:  # another program may have changed the modes
            self._terminal.__enter__()

    def _typed(self) -> None:
        pressed = self._terminal.read()
        if pressed is None:
            self._status = 128 + signal.SIGHUP
            return
        for key in pressed:
            self._press(key)

    def _press(self, key: str) -> None:
        match key:
            case "quit":
                self._status = 0
            case "up" | "down":
                self._select(1 if key == "down" else -1)
            case "reload":
                self._do(
                    "reloading", lambda home, name: load(home, name, "reload", "reloaded", False)
                )
            case "more" | "fewer":
                to = "+1" if key == "more" else "-1"
                self._do("scaling", lambda home, name: scale_to(home, name, to))

    def _select(self, step: int) -> None:
        if self._names:
            index = (self._index() + step) % len(self._names)
            self._name = self._names[index]
            self._read_log()

    def _do(self, doing: str, act: Callable[[Home, str], str]) -> None:
        home, name = self._home, self._name
        if not home or not name:
            return
        if name in self._busy:
            self._say(f"{self._busy[name]} {name}: wait until that is done", failed=True)
            return

        def done(result: str | Exception) -> None:
            del self._busy[name]
            failed = isinstance(result, Exception)
            self._say(f"{name}: {result}" if failed else str(result), failed=failed)
            self._ask(name)

        self._busy[name] = doing
        self._say(f"{doing} {name}", stays=3600)
        self._errands.run(lambda: act(home, name), done)

    def _say(self, message: str, failed: bool = False, stays: float = MESSAGE_STAYS) -> None:
        self._message, self._failed = message, failed
        self._message_until = time.monotonic() + stays

    # What is asked

    def _tick(self) -> None:
        if self._home is None:
            self._home = Home.open_existing()
        self._names = _names(self._home, self._only)
        for gone in self._facts.keys() - {*self._names}:
            del self._facts[gone]
        if self._name not in self._names:
            self._name = first_choice(self._home, self._names)
        for name in self._names:
            self._ask(name)
        self._read_log()

    def _ask(self, name: str) -> None:
        home = self._home
        if home is None or name in self._asked:
            return

        def answered(facts: Facts | Exception | None) -> None:
            self._asked.discard(name)
            if isinstance(facts, Exception):
                problem = {"status": "errored", "error": str(facts)}
                facts = Facts(stopped(Entry(name, None, None)) | problem, {})
            if facts and name in self._names:
                self._facts[name] = facts
                rates = self._rates.setdefault(name, deque(maxlen=HISTORY))
                rates.append(facts.requests_per_second)
                times = self._times.setdefault(name, deque(maxlen=HISTORY))
                times.append((facts.activity or {}).get("p99") or 0.0)

        self._asked.add(name)
        self._errands.run(lambda: activity_of(home, name), answered)

    def _read_log(self) -> None:
        home, name = self._home, self._name
        if home is None or not name or name in self._reading:
            return
        logs = self._logs.setdefault(name, Logs(home, name))

        def read(result: list[Line] | Exception) -> None:
            self._reading.discard(name)
            problem = isinstance(result, Exception)
            self._log_problems[name] = str(result) if problem else ""
            self._lines[name] = [] if isinstance(result, Exception) else result

        self._reading.add(name)
        self._errands.run(logs.read, read)

    # What is shown

    def _index(self) -> int:
        return self._names.index(self._name) if self._name in self._names else 0

    def _draw(self) -> None:
        width, height = self._terminal.size()
        fresh = time.monotonic() < self._message_until
        view = View(
            clusters=[self._facts.get(name) or _awaited(name) for name in self._names],
            selected=self._index(),
            lines=self._lines.get(self._name, []),
            log_problem=self._log_problems.get(self._name, ""),
            message=self._message if fresh else "",
            failed=self._failed,
            rates=self._rates.get(self._name, ()),
            times=self._times.get(self._name, ()),
            corner=time.strftime("%H:%M:%S"),
            glyphs=_glyphs(),
        )
        lines = frame(view, width, height)
        for line in lines:
            line.pad_right(width - line.cell_len)
        self._terminal.show(_rendered(lines, width))


def _names(home: Home | None, only: str | None) -> list[str]:
    names = home.names() if home else []
    return names if only is None else [name for name in names if name == only]


def _awaited(name: str) -> Facts:
    """A cluster that has not answered yet."""
    return Facts(stopped(Entry(name, None, None)) | {"status": "asking"}, {})


def _glyphs() -> Glyphs:
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return UNICODE if encoding.startswith("utf") else ASCII


def _rendered(lines: list[Text], width: int) -> list[str]:
    """With colours where stdout is a terminal and wants them."""
    console = Console(
        file=sys.stdout,
        width=width,
        height=len(lines) + 1,
        force_terminal=sys.stdout.isatty(),
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        for line in lines:
            console.print(line, soft_wrap=True)
    text = captured.get()
    return (text if _glyphs() is UNICODE else text.replace("µ", "u")).split("\n")[:-1]


@contextmanager
def _wakeups() -> Iterator[int]:
    """A descriptor from which the numbers of signals can be read; they do nothing else."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before: dict[signal.Signals, Any] = {}
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        for number in _HANDLED:
            before[number] = signal.signal(number, lambda *_: None)
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        os.close(reading)
        os.close(writing)
