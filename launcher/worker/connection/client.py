"""Which client is at the other end of a connection."""

from __future__ import annotations

from typing import Any


class Client:
    """The client, as far as addresses say."""

    __slots__ = ("host", "peer", "port", "port_text", "proxied")

    def __init__(self, host: str, port: int) -> None:
        """``host`` is empty for a unix socket."""
        self.peer: Any = (host, port) if host else ""
        """The address of the other end, as gunicorn has it: empty for a unix socket."""
        self.proxied = ""
        """The text of the header that a proxy has sent before all else (``proxied.py``)."""
        self.host = host
        """The client's address: the peer's, or the one that a proxy has told."""
        self.port = port
        self.port_text = str(port)

    def introduce(self, text: str, address: tuple[str, int] | None) -> None:
        """A proxy has said which client it stands for; None: no other than itself."""
        self.proxied = text
        if address:
            self.host, self.port = address
            self.port_text = str(self.port)
