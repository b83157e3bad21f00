"""``python -m launcher.pool CHANNEL [BOOT SCOREBOARD [LOGS]]``.

Started by the primary only; the arguments are inherited descriptors. All but
the channel come over that (`Begin`), except in a pool that has started over.
"""

from __future__ import annotations

import select
import socket
import sys

from launcher import signals
from launcher.descriptors import raise_limit
from launcher.ipc.channel import Channel, ChannelClosed
from launcher.ipc.messages import Begin, Failed
from launcher.ipc.records import decode, encode
from launcher.pool import APP_FAILED
from launcher.pool.loading.supported import installed_version, why_not


def main() -> None:
    """Import what the pool needs, wait to be told what to load, and go on with that."""
    signals.take_over()
    raise_limit()  # the primary may not have raised it when it started this process
    channel_fd, *given = map(int, sys.argv[1:])
    channel = Channel(socket.socket(fileno=channel_fd))
    reason = why_not(installed_version()) or _import_the_rest()
    descriptors = given or _told(channel)
    if reason:
        channel.send(encode(Failed(reason, "")))
        sys.exit(APP_FAILED)
    from launcher.pool.main import run

    run(channel, descriptors, started_over=bool(given))


def _import_the_rest() -> str | None:
    """Import it now, while the primary imports its own; why that cannot be done, if so."""
    try:
        import launcher.pool.main  # noqa: F401 - only here: with an unknown gunicorn it fails
    except ImportError as error:
        return f"the launcher is not installed as it should be: {error}"
    return None


def _told(channel: Channel) -> list[int]:
    """The descriptors of `Begin`. Raises ChannelClosed when the primary needs no pool after all."""
    waiting = select.poll()
    waiting.register(channel.fd, select.POLLIN)
    waiting.poll()
    received = channel.receive()
    assert received
    assert isinstance(decode(received[0]), Begin)
    return received[1]


if __name__ == "__main__":
    try:
        main()
    except ChannelClosed:
        sys.exit(0)  # the primary is gone: no process is left to tell
