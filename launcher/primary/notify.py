"""Tells systemd how it goes (sd_notify(3)), when it asked to be told."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send e.g. ``READY=1`` to NOTIFY_SOCKET; without it, or a reader, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        sock.setblocking(False)
        sock.sendto(state.encode(), address)


def show_life() -> None:
    """Tell a watchdog that waits for it (WatchdogSec=, sd_watchdog_enabled(3)) that we live."""
    waited_for = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if waited_for and os.environ.get("WATCHDOG_USEC"):
        notify("WATCHDOG=1")
