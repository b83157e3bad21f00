"""What becomes of each connection of a dead worker.

The kernel knows how many bytes the worker wrote on a connection and how many
it consumed (``primary/rescue/accounting.py``). The worker noted in the scoreboard how
many those were when the request began and how long the response is. The two
together tell "not begun", "fully answered" and "cut off" apart without a gap,
because a worker sends the response first and consumes the request after.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from launcher.ipc.notes import CLOSES, LENGTH_UNKNOWN, Note

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What tells a client to send its body (RFC 9110 section 10.1.1): a response can follow it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes written and consumed on a connection since it was accepted, by the kernel's count."""

    written: int
    consumed: int


class Action(Enum):
    """What to do with a connection."""

    DEAL = auto()
    """The connection is at a request boundary: another worker goes on with it."""
    RERUN = auto()
    """A safe request was running and nothing is sent: another worker runs it again."""
    ANSWER = auto()
    """The client is owed a response and gets a complete error (502, 504)."""
    FINISH = auto()
    """The last response is complete: close in an orderly way."""
    CUT = auto()
    """A part of a response is out: close so that the client can tell that the rest is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``consume`` bytes are to be read off the connection first: the answered request."""

    action: Action
    consume: int = 0


def judge(
    note: Note | None,
    figures: Figures | None,
    *,
    pinned: bool,
    answered: bool,
    rerun: bool,
) -> Verdict:
    """The fate of one connection of a dead worker.

    ``note``: what the worker ran on it, if anything. ``figures``: None where
    the kernel does not give them (unix sockets); nothing is guessed then.
    ``pinned``, ``answered``: as the worker said in `Pinned`. ``rerun``:
    whether a safe request may run again.
    """
    if pinned and answered:
        return Verdict(Action.CUT)
    if note is None:
        return Verdict(Action.ANSWER if pinned else Action.DEAL)
    length = note.response_length & LENGTH_UNKNOWN
    if figures is None:
        return Verdict(Action.CUT if length else Action.ANSWER)
    sent = figures.written - note.written
    if sent == 0 or (sent == len(CONTINUE) and not length):
        untouched = not (pinned or sent) and figures.consumed == note.consumed
        again = rerun and note.safe and untouched
        return Verdict(Action.RERUN if again else Action.ANSWER)
    if sent == length:
        rest = note.consumed + note.request_length - figures.consumed
        closes = bool(note.response_length & CLOSES)
        return Verdict(Action.FINISH if closes else Action.DEAL, max(0, rest))
    return Verdict(Action.CUT)
