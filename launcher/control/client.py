"""Ask a running cluster over its control socket; the primary is the other side.

Every call has one deadline for all of it. Whatever goes wrong is a
LauncherError whose line names the cluster: no such one, not running, silent,
or refusing.
"""

import difflib
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from launcher.control.peer import is_ours, user_of
from launcher.control.protocol import MAX_REPLY, MAX_REQUEST, ProtocolError, encode, parse_reply
from launcher.errors import LauncherError, UsageError
from launcher.state.home import Home, require_name
from launcher.state.process_id import ProcessId

__all__ = [
    "Conversation",
    "NotRunning",
    "Refused",
    "ask",
    "call",
    "call_slowly",
    "no_such_cluster",
]

CHUNK = 64 * 1024

ANSWER_WITHIN = 5.0
"""Seconds in which a primary that works says something: its loop never blocks, so this is long."""

EXIT_POLL = 0.01
"""Seconds between looks at a process whose connections are closed already: it is all but gone."""


class NotRunning(LauncherError):
    """There is such a cluster, but no process of it."""


class Refused(LauncherError):
    """The primary has answered that it did not do it."""


class Conversation(NamedTuple):
    """An answered request whose connection is still open."""

    process: ProcessId
    """The primary that was asked."""
    result: Any
    connection: socket.socket

    def wait_for_exit(self, timeout: float) -> bool:
        """Whether the primary has gone within ``timeout`` seconds.

        The end of the connection is the event; it comes while the process still
        takes itself apart, so its entry in /proc has the last word.
        """
        deadline = time.monotonic() + timeout
        try:
            while _receive(self.connection, deadline):
                pass
        except TimeoutError:
            return False
        while self.process.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(EXIT_POLL)
        return True


def call(
    home: Home, name: str, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float
) -> Any:
    """Ask cluster ``name`` and give its result, all within ``timeout`` seconds.

    Raises Refused or UsageError (status 2) for what the primary refuses, NotRunning, LauncherError.
    """
    with ask(home, name, verb, args, timeout=timeout) as conversation:
        return conversation.result


def call_slowly(
    home: Home, name: str, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float
) -> Any:
    """As ``call``, for what may take long: a primary that does not work at all is told soon."""
    call(home, name, "status", timeout=min(timeout, ANSWER_WITHIN))
    return call(home, name, verb, args, timeout=timeout)


@contextmanager
def ask(
    home: Home, name: str, verb: str, args: Mapping[str, Any] | None = None, *, timeout: float
) -> Iterator[Conversation]:
    """As ``call``, but the connection stays open until the ``with`` block ends."""
    process = _find_running(home, name)
    who = f"cluster {name!r} (pid {process.pid})"
    deadline = time.monotonic() + timeout
    request = encode({"verb": verb, "args": dict(args or {})})
    if len(request) > MAX_REQUEST:
        raise LauncherError(f"{who}: what it is to be sent is over {MAX_REQUEST >> 10} KiB")
    with _connect(home, process, name, timeout) as connection:
        try:
            connection.sendall(request)
            line = _receive_line(connection, deadline)
        except TimeoutError:
            raise _silent(who, process, timeout) from None
        except OSError as error:
            raise LauncherError(f"{who} does not answer: {error.strerror}") from None
        yield Conversation(process, _result(who, line), connection)


def no_such_cluster(name: str, known: list[str]) -> LauncherError:
    """The error for a name that no cluster has, with the one most like it."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {nearest[0]!r}?" if nearest else ""
    return LauncherError(f"no cluster named {name!r}{hint}")


def _find_running(home: Home, name: str) -> ProcessId:
    entry = home.entry(require_name(name))
    if entry is None:
        raise no_such_cluster(name, home.names())
    if entry.process is None:
        raise NotRunning(f"cluster {name!r} is not running")
    return entry.process


def _silent(who: str, process: ProcessId, timeout: float) -> LauncherError:
    hint = f": it was stopped by a signal: kill -CONT {process.pid}" if process.frozen() else ""
    return LauncherError(f"{who} does not answer within {timeout:g} s{hint}")


def _connect(home: Home, process: ProcessId, name: str, timeout: float) -> socket.socket:
    who = f"cluster {name!r} (pid {process.pid})"
    try:
        connection = home.connect(name, timeout)
    except TimeoutError:
        raise _silent(who, process, timeout) from None
    except (FileNotFoundError, ConnectionRefusedError):
        # Only for a moment after its first breath and before its last.
        raise LauncherError(f"{who} does not answer: it is starting or stopping") from None
    try:
        _check_peer(connection, who)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_peer(connection: socket.socket, who: str) -> None:
    """Talk to this user and root only: a reply decides what gets printed and waited for."""
    user = user_of(connection)
    if not is_ours(user):
        raise LauncherError(f"{who}: its control socket is answered by user id {user}, not by you")


def _receive_line(connection: socket.socket, deadline: float) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = _receive(connection, deadline)
        if not chunk:
            raise ConnectionResetError(0, "it closed the connection")
        line += chunk
        if len(line) > MAX_REPLY:
            break  # for parse_reply to refuse
    return bytes(line)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """What has come, b"" at the end; TimeoutError at the deadline."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    connection.settimeout(remaining)
    try:
        return connection.recv(CHUNK)
    except ConnectionResetError:
        return b""


def _result(who: str, line: bytes) -> Any:
    try:
        reply = parse_reply(line)
    except ProtocolError as error:
        raise LauncherError(f"{who} does not speak this launcher's protocol: {error}") from None
    if reply.exit_status == 2 and not reply.ok:
        raise UsageError(reply.error)
    if not reply.ok:
        raise Refused(reply.error, reply.detail)
    return reply.result
