"""The control protocol: one JSON object per line, both ways, over ``control.sock``.

    -> {"verb": "scale", "args": {"wanted": 4}}      "args" may be left out
    <- {"ok": true, "result": ...}
    <- {"ok": false, "error": "one line", "exit_status": 1, "detail": "lines to show before it"}

The verbs are a closed table. Whatever a peer sends, reading it either gives a
``Request`` or ``Reply``, or raises ``ProtocolError`` and nothing else: the
primary must not die of a line. One line each way per connection. After ``stop``
the primary leaves the connection open, so that its end tells that it is gone.

No socket here: bytes in, values out, for the primary's loop and the client alike.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args

from launcher.errors import LauncherError

__all__ = [
    "MAX_REPLY",
    "MAX_REQUEST",
    "VERBS",
    "ProtocolError",
    "Reply",
    "Request",
    "encode",
    "ok",
    "parse_reply",
    "parse_request",
    "refused",
]

MAX_REQUEST = 256 * 1024
"""Bytes of a request line with its newline; a primary reads no further. An environment fits."""

MAX_REPLY = 16 * 1024 * 1024
"""Bytes of a reply line with its newline: some 60,000 workers."""

ArgSpec = Mapping[str, type | UnionType]
"""The arguments of a verb and the JSON type of each; ``dict | None``: may be left out."""

VERBS: Mapping[str, ArgSpec] = {
    "status": {},  # the cluster's object of `list --json`
    "describe": {},  # primary/insight/status.py, description
    "activity": {},  # primary/insight/activity.py, activity
    "stop": {},  # {"pid": of the primary, "deadline": seconds until it is gone at the latest}
    # {"generation": that serves now, "workers": of it}; answered when it does, or cannot.
    # settings: as in app.json; environment: variables; mark: primary/processes/generation.py, Terms
    "reload": {"settings": dict | None, "environment": dict | None, "mark": str | None},
    "restart": {"settings": dict | None, "environment": dict | None, "mark": str | None},
    "restart_worker": {
        "slot": int
    },  # {"slot", "old", "new": ids}; answered when the new one serves
    "scale": {"to": str, "why": str | None},  # "4", "+1", "-1", "auto"; answered as reload
    "signal": {"number": int},  # {"workers": that it was sent to}
    "reopen": {},  # [{"pid", "source": whose log file it is to have open}]
    "reset": {},  # {}
}


class ProtocolError(LauncherError):
    """What the other side sent is not the protocol; one line says how."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a verb of the table, with its arguments and no others."""

    verb: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered. Where ``ok``, ``result`` counts, else ``error`` and ``exit_status``."""

    ok: bool
    result: Any = None
    error: str = ""
    exit_status: int = 1
    detail: str = ""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line with its newline; pure ASCII, so no byte of it can be mistaken."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def ok(result: Any) -> dict[str, Any]:
    """The reply to a request that was done."""
    return {"ok": True, "result": result}


def refused(
    message: str, exit_status: int = LauncherError.exit_status, detail: str = ""
) -> dict[str, Any]:
    """The reply to a request that was not; ``message`` is one line, as of a LauncherError.

    ``detail``: lines to show before it, e.g. the app's own traceback.
    """
    return {"ok": False, "error": message, "exit_status": exit_status, "detail": detail}


def parse_request(line: bytes, verbs: Mapping[str, ArgSpec] = VERBS) -> Request:
    """Read a request line, with or without its newline. Raises only ProtocolError."""
    message = _load(line, MAX_REQUEST)
    if extra := message.keys() - {"verb", "args"}:
        raise ProtocolError(f"unknown key {_shown(min(extra))} in the request")
    verb, args = message.get("verb"), message.get("args", {})
    if not isinstance(verb, str) or verb not in verbs:
        raise ProtocolError(f"unknown verb {_shown(verb)}")
    if not isinstance(args, dict):
        raise ProtocolError(f"the arguments of {verb} are not an object")
    _check_args(verb, args, verbs[verb])
    return Request(verb, args)


def parse_reply(line: bytes) -> Reply:
    """Read a reply line, with or without its newline. Raises only ProtocolError."""
    match _load(line, MAX_REPLY):
        case {"ok": True, "result": result}:
            return Reply(ok=True, result=result)
        case {
            "ok": False,
            "error": str(error),
            "exit_status": 1 | 2 as exit_status,
            "detail": str(detail),
        }:
            return Reply(ok=False, error=error, exit_status=exit_status, detail=detail)
    raise ProtocolError("the reply is neither a result nor a refusal")


def _check_args(verb: str, args: Mapping[str, Any], spec: ArgSpec) -> None:
    for name in sorted(args.keys() - spec.keys()):
        raise ProtocolError(f"{verb}: unknown {_shown(name)}")
    for name, kind in spec.items():
        wanted = get_args(kind)[0] if isinstance(kind, UnionType) else kind
        if name not in args:
            if wanted is kind:
                raise ProtocolError(f"{verb}: missing {_shown(name)}")
        # `type(...) is`, not isinstance: JSON's true is no number.
        elif type(args[name]) is not wanted:
            raise ProtocolError(f"{verb}: {name} is not of type {wanted.__name__}")


def _load(line: bytes, limit: int) -> dict[str, Any]:
    if len(line) > limit:
        raise ProtocolError(f"the line is longer than {limit} bytes")
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):  # ValueError: also bytes, and numbers too long
        raise ProtocolError("the line is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("the line is not a JSON object")
    return message


def _no_constant(text: str) -> float:
    """Refuse NaN and the infinities, which Python reads but JSON does not know."""
    raise ValueError(text)


def _shown(value: object) -> str:
    """A value from the other side, harmless and short enough for a line."""
    text = ascii(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."
