"""Socket calls that keep the interpreter.

Python hands the interpreter over around every system call, because a call may block.
Our calls on connections never do (MSG_DONTWAIT). Where several threads are at work
each hand-over goes to another thread, and this one waits for its turn: a request that
needs three calls waits three times. The functions here keep the interpreter: ctypes.PyDLL
does not release its lock.

Each costs 0.5 us more than the method of a socket, so they are for a worker whose
threads take turns (`crowded`). Measured with requests that wait 3 ms: a tenth more requests
a second, for a tenth less CPU time each.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections import deque
from typing import Any

crowded = False
"""Whether other threads of this worker are at work besides the one that leads."""

MOST = 1 << 16
"""Bytes that `receive` can take."""

_DROP = int(socket.MSG_DONTWAIT | socket.MSG_TRUNC)

_libc = ctypes.PyDLL(None, use_errno=True)
_send = _libc.send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t
_recv = _libc.recv
_recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_recv.restype = ctypes.c_ssize_t

_buffers: deque[tuple[Any, int]] = deque()
"""The buffers that no thread uses, with their addresses."""


def send(fd: int, data: bytes, flags: int) -> int:
    """As `socket.socket.send`."""
    return _checked(_send(fd, data, len(data), flags))


def receive(fd: int, size: int, flags: int) -> bytes:
    """As `socket.socket.recv`, at most `MOST` bytes."""
    buffer, address = _buffer()
    try:
        received: bytes = buffer[: _checked(_recv(fd, address, size, flags))]
        return received
    finally:
        _buffers.append((buffer, address))


def drop(fd: int, size: int) -> int:
    """Have the kernel drop received bytes (tcp(7), MSG_TRUNC); how many it dropped."""
    buffer, address = _buffer()
    try:
        return _checked(_recv(fd, address, min(size, MOST), _DROP))
    finally:
        _buffers.append((buffer, address))


def _buffer() -> tuple[Any, int]:
    try:
        return _buffers.pop()
    except IndexError:
        buffer = ctypes.create_string_buffer(MOST)
        return buffer, ctypes.addressof(buffer)


def _checked(result: int) -> int:
    if result >= 0:
        return result
    number = ctypes.get_errno()
    if number == errno.EAGAIN:
        raise BlockingIOError(number, os.strerror(number))
    raise OSError(number, os.strerror(number))
