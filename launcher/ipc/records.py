"""Messages as records of a channel.

A record is one byte that names the type and the message's fields. All but `Deals`
are rare and travel as JSON, readable in ``strace``.
"""

from __future__ import annotations

import json
from typing import Any

from launcher.ipc.channel import MAX_MESSAGE
from launcher.ipc.messages import (
    DEALS_TAG,
    Alone,
    Begin,
    Buried,
    Changed,
    Configured,
    Cut,
    Deals,
    Drain,
    Exited,
    Failed,
    Forked,
    Hello,
    Listen,
    Loaded,
    Look,
    Message,
    Notice,
    Pinned,
    Proxied,
    Ready,
    Reopen,
    Resume,
    Retire,
    Retiring,
    Returned,
    Scaled,
    Share,
    Shed,
    Spawn,
    SpawnFailed,
    Spent,
    Unpinned,
)

_TYPES: dict[bytes, type[Any]] = {
    b"b": Begin,
    b"L": Listen,
    b"d": Drain,
    b"R": Retire,
    b"e": Resume,
    b"s": Share,
    b"x": Shed,
    b"o": Reopen,
    b"a": Alone,
    b"g": Buried,
    b"n": Scaled,
    b"H": Hello,
    b"y": Ready,
    b"r": Retiring,
    b"E": Spent,
    b"B": Returned,
    b"P": Pinned,
    b"U": Unpinned,
    b"p": Proxied,
    b"C": Cut,
    b"S": Spawn,
    b"N": Notice,
    b"w": Look,
    b"c": Changed,
    b"u": Configured,
    b"l": Loaded,
    b"F": Failed,
    b"k": Forked,
    b"f": SpawnFailed,
    b"X": Exited,
}
_TAGS = {kind: tag for tag, kind in _TYPES.items()}


def encode(message: Message) -> bytes:
    """The record that carries ``message``. Texts lose their middle if it would not fit."""
    if isinstance(message, Deals):
        return message.pack()
    fields: dict[str, Any] = message._asdict()
    while len(record := _TAGS[type(message)] + _json(fields)) > MAX_MESSAGE:
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        name, text = max(texts.items(), key=lambda item: len(item[1]))
        fields[name] = shortened(text, len(text) // 2)
    return record


def shortened(text: str, most: int) -> str:
    """``text`` without its middle when it has more than ``most`` characters."""
    if len(text) <= most:
        return text
    part = most // 2
    return f"{text[:part]} … {text[-part:]}"


def _json(fields: dict[str, Any]) -> bytes:
    # What is no UTF-8 (a lone surrogate) becomes an escape, as JSON has it.
    return json.dumps(fields, ensure_ascii=False).encode(errors="backslashreplace")


def decode(record: bytes | bytearray) -> Message:
    """The message in ``record``, which the other side made with `encode`.

    Both sides are one installation of one version, so a record that does not
    decode is a defect here and raises ValueError or TypeError.
    """
    if record[0] == DEALS_TAG[0]:
        return Deals.unpack(record)
    message: Message = _TYPES[bytes(record[:1])](**json.loads(record[1:]))
    return message
