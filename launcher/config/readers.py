"""Readers of what users write: a text in, a value out.

A ValueError carries the rest of the sentence that starts with the source and
the text; an OSError means that the text is well formed but the file system
does not agree (exit 1 instead of 2).
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO

from launcher.folders import absolute

__all__ = [
    "MAX_SECONDS",
    "MAX_THREADS",
    "MAX_WORKERS",
    "check_name",
    "one_of",
    "open_regular",
    "read_app",
    "read_bytes",
    "read_cron",
    "read_file",
    "read_folder",
    "read_glob",
    "read_gunicorn_config",
    "read_log_size",
    "read_mode",
    "read_owner",
    "read_path",
    "read_switch",
    "read_threads",
    "read_workers",
    "seconds",
    "whole",
]

MAX_WORKERS = 512

MAX_THREADS = 1024
MAX_SECONDS = 86_400
"""A day: longer waits are typing mistakes, and epoll takes milliseconds in 32 bits."""

LEAST_LOG_SIZE = 64 << 10
"""Bytes. A long traceback fits, so that only freaks are cut in two."""


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``.

    Stricter than ``int()``, which takes ``1_000``, `` 1 `` and other scripts' digits.
    """

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(low: float) -> Callable[[str], float]:
    """A reader of durations from ``low`` seconds to a day; no exponents, nan or inf."""

    def read(text: str) -> float:
        plain = re.fullmatch(r"[0-9]{1,10}(\.[0-9]{0,9})?|\.[0-9]{1,9}", text)
        if not plain or not low <= float(text) <= MAX_SECONDS:
            raise ValueError(f"is not a number of seconds from {low:g} to {MAX_SECONDS}")
        return float(text)

    return read


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """A reader that takes the words in ``choices`` and no other."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return read


def read_workers(text: str) -> int | None:
    """A number of workers, or None for ``auto``."""
    if text == "auto":
        return None
    try:
        return whole(1, MAX_WORKERS)(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor auto") from None


def read_switch(text: str) -> bool:
    """On or off, in the words people put into variables."""
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("is neither 1 (true, yes, on) nor 0 (false, no, off)")
    return words[text.lower()]


def read_path(text: str) -> str:
    """The path part of a URL, as it is sent."""
    if not re.fullmatch(r"/[!-~]*", text):
        raise ValueError("is not a path: write /healthz")
    return text


def read_bytes(text: str) -> int:
    """A size in bytes, with K, M or G for powers of 1024."""
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text)
    if not match:
        raise ValueError("is not a size: write 300M, 1G or a number of bytes")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def read_threads(text: str) -> int | str:
    """``MIN:MAX`` in its one form, or a number where both are the same."""
    number = whole(1, MAX_THREADS)
    least, colon, most = text.partition(":")
    if not colon:
        return number(text)
    try:
        bounds = number(least), number(most)
    except ValueError as error:
        raise ValueError(f"is no MIN:MAX of threads: one of them {error}") from None
    if bounds[0] > bounds[1]:
        raise ValueError(f"has a MIN above its MAX: write {bounds[1]}:{bounds[0]}")
    return bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]}:{bounds[1]}"


def read_log_size(text: str) -> int:
    """A size in bytes that a log file can sensibly have, or 0."""
    size = read_bytes(text)
    if 0 < size < LEAST_LOG_SIZE:
        raise ValueError("is too small for a log file: write 64K or more, or 0 for no limit")
    return size


def read_mode(text: str) -> str:
    """The permissions of a file in octal, as for chmod, in their one form: ``0660``."""
    if not re.fullmatch(r"(0o|0)?[0-7]{3}", text):
        raise ValueError("is no mode: write 660 for owner and group, 600 for the owner alone")
    return f"0{text[-3:]}"


def read_owner(text: str) -> str:
    """``user``, ``user:group`` or ``:group``, names or numbers, as for chown.

    Whether there are such is seen where the file is made.
    """
    name = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
    if not re.fullmatch(rf"{name}(:{name})?|:{name}", text):
        raise ValueError("is no owner: write user, user:group or :group")
    return text


def read_app(text: str) -> str:
    """``module:attribute`` or ``module:factory()``; whether it exists only the pool can tell."""
    module = text.partition(":")[0]
    if not module or not text.isprintable() or module != module.strip():
        raise ValueError("is not module:attribute or module:factory()")
    if "/" in module or module.endswith(".py"):
        raise ValueError("is a file; name its module: myapp:app for the app in myapp.py")
    return text


def read_folder(text: str) -> str:
    """The absolute path of a folder this user may enter."""
    path = absolute(text)
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def read_cron(text: str) -> str:
    """Cron expressions, several with ``;``."""
    from cronsim import CronSim, CronSimError  # only those that use it wait for it

    for expression in text.split(";"):
        try:
            CronSim(expression.strip(), datetime(2000, 1, 1))
        except CronSimError:
            raise ValueError(
                "is no cron expression: write 0 4 * * * for 4:00 each day, several with ;"
            ) from None
    return text


def read_glob(text: str) -> str:
    """A pattern of paths below a folder."""
    if not text.strip("/.") or text.startswith("/") or ".." in text.split("/"):
        raise ValueError("is no pattern of what is below --chdir: write *.html or build/**/*.py")
    return text


def read_gunicorn_config(text: str) -> str:
    """The path of gunicorn's configuration, or its ``python:module`` as it is."""
    return text if text.startswith("python:") else read_file(text.removeprefix("file:"))


def read_file(text: str) -> str:
    """The absolute path of a readable file.

    Relative to the folder the command is given in, as in gunicorn; what is only in
    ``--chdir`` is found by `launcher.config.resolve`.
    """
    path = absolute(text)
    with open_regular(path):  # a folder or an unreadable file is told now, not by the pool
        return path


@contextmanager
def open_regular(path: str) -> Iterator[BinaryIO]:
    """Open a file to read it. OSError also for what is no regular file, such as a FIFO.

    Never blocks: the open of a FIFO would wait for a process that writes into it.
    """
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", path)
        yield file


def check_name(text: str) -> str:
    """A cluster's name: also the name of its folder, and an argument of every command."""
    if text == "all":
        raise ValueError("means every cluster and cannot be the name of one")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(
            "is not a name: up to 64 letters, digits, dots, dashes and underscores,"
            " the first a letter or digit"
        )
    return text
