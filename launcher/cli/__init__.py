"""The command line: parses, asks, renders; decides nothing.

``main`` is the only place that turns errors into lines and exit statuses:
0 done and true, 1 failed, 2 usage (130 after Ctrl-C, as from a shell).
Commands import what they need when they run, so that ``--help`` stays quick.
"""

import os
import select
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from launcher.cli import colours
from launcher.cli.commands import OPTIONS_MEANT
from launcher.cli.root import root
from launcher.cli.text import complain, give_up, printable
from launcher.errors import LauncherError, NothingToDo

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Nothing a user can cause gives a traceback."""
    _have_streams()
    try:
        require_platform(sys.platform, hasattr(select, "epoll"))
        status = _answer(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # now, while a full disk or a closed pipe can still be told
    except NothingToDo as done:
        print(printable(done.line))
        return done.exit_status
    except LauncherError as error:
        return _fail(str(error), error.exit_status)
    except click.NoSuchOption as error:
        meant = OPTIONS_MEANT.get(error.option_name)
        told = f"no such option {error.option_name!r}; here it is: {meant}"
        return _fail(told if meant else error.format_message(), error.exit_code)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        give_up(sys.stdout)
        return 1
    except OSError as error:
        give_up(sys.stdout)
        return _fail(in_one_line(error), 1)
    return status


def require_platform(name: str, has_epoll: bool) -> None:
    """Everything below stands on epoll, /proc and SCM_RIGHTS: say so at once, not half-way."""
    if name != "linux" or not has_epoll:
        raise LauncherError(f"needs Linux with epoll; this is {name}")


def in_one_line(error: OSError) -> str:
    """An unforeseen error, in one line: what the system said, and about which file."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{os.fsdecode(error.filename)}: {reason}" if error.filename else reason


def _answer(arguments: Sequence[str]) -> int:
    """A shell that completes a line asks with a variable, a user with arguments."""
    instruction = os.environ.get("_LAUNCHER_COMPLETE")
    if instruction:
        from launcher.cli.completion import complete

        return complete(instruction)
    return _invoke(arguments)


def _invoke(arguments: Sequence[str]) -> int:
    """Without click's own ``main``, which prints errors in several lines."""
    try:
        name = "python -m launcher"
        with root.make_context(name, list(arguments), color=colours.wanted()) as context:
            return int(root.invoke(context) or 0)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code


def _fail(message: str, status: int) -> int:
    complain(message)
    return status


def _have_streams() -> None:
    """What is printed goes nowhere if the stream was closed when we were started.

    A name that the terminal's encoding lacks is shown escaped instead of raising.
    """
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _nowhere() -> TextIO:
    return open(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)
