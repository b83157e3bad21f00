"""A client that keeps books: every request, its answer, and what was wrong with it.

Knows just enough HTTP/1.1 to be strict about it: one response per request, in
order, of the announced length, with nothing before, between or behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Books:
    """What a load has seen. ``failures`` is empty when every request got its own 200."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    workers: Counter[int] = field(default_factory=Counter)
    posted: list[str] = field(default_factory=list)
    """Tokens of POSTs that were sent, answered or not."""
    reconnects: int = 0
    """How often a keep-alive connection had to be opened again."""
    latencies: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    """Accepted answers other than 200: the status by ``GET token`` or ``POST token``."""
    confirmed: list[str] = field(default_factory=list)
    """Tokens of POSTs that were answered 200."""


class Load:
    """Runs clients in a thread of its own until `stop`.

    ``keep_alive`` clients keep one connection each, ``one_shot`` clients make
    one per request. Every ``post_every``-th request is a POST (0: none).
    ``accept`` are the statuses that are no failure. ``address`` may be the
    path of a unix socket. ``name`` begins every token, for loads that share a
    COUNT_FILE.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        keep_alive: int = 0,
        one_shot: int = 0,
        post_every: int = 0,
        accept: frozenset[int] = frozenset({200}),
        path: str = "/echo/{token}",
        name: str = "",
    ) -> None:
        self.books = Books()
        self._address = address
        self._post_every = post_every
        self._accept = accept
        self._path = path
        self._name = name
        self._clients = [(index, True) for index in range(keep_alive)]
        self._clients += [(keep_alive + index, False) for index in range(one_shot)]
        self._answers = [0] * len(self._clients)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Books:
        """Let every client finish its request."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "clients hang"
        return self.books

    def answers(self) -> list[int]:
        """How many requests each client has had answered."""
        return [*self._answers]

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(index, keep) for index, keep in self._clients))

    async def _client(self, index: int, keep_alive: bool) -> None:
        number = 0
        streams: Streams | None = None
        while not self._stopping.is_set():
            number += 1
            token = f"{self._name}{index}-{number}"
            post = bool(self._post_every) and (index + number) % self._post_every == 0
            started = asyncio.get_running_loop().time()
            try:
                if streams is None:
                    streams = await self._connect()
                    self.books.reconnects += keep_alive and number > 1
                again = await asyncio.wait_for(self._ask(streams, token, post, keep_alive), 45)
                self.books.latencies.append(asyncio.get_running_loop().time() - started)
                self._answers[index] += 1
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.books.failures.append(f"{'POST' if post else 'GET'} {token}: {error!r}")
                again = False
            if not (again and keep_alive) and streams:
                streams[1].close()
                with contextlib.suppress(OSError):
                    await streams[1].wait_closed()
                streams = None
        if streams:
            streams[1].close()

    async def _connect(self) -> Streams:
        if isinstance(self._address, str):
            return await asyncio.open_unix_connection(self._address)
        return await asyncio.open_connection(*self._address)

    async def _ask(
        self,
        streams: Streams,
        token: str,
        post: bool,
        keep_alive: bool,
    ) -> bool:
        reader, writer = streams
        body = f"body of {token}" if post else ""
        head = [
            f"{'POST' if post else 'GET'} {self._path.format(token=token)} HTTP/1.1",
            "Host: test",
            *([f"Content-Length: {len(body)}"] if post else []),
            *([] if keep_alive else ["Connection: close"]),
        ]
        if post:
            self.books.posted.append(token)
        writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        status, fields, content = await read_response(reader)
        self.books.statuses[status] += 1
        if status not in self._accept:
            raise ValueError(f"status {status}: {content[:80]!r}")
        if status == 200:
            self._check(content.decode(), token, post)
            self.books.confirmed += [token] if post else []
        else:
            self.books.refused[f"{'POST' if post else 'GET'} {token}"] = status
        self.books.answered += 1
        return fields.get("connection") != "close"

    def _check(self, content: str, token: str, post: bool) -> None:
        got, method, worker = content.split()
        if (got, method) != (token, "POST" if post else "GET"):
            raise ValueError(f"the answer to another request: {content!r}")
        self.books.workers[int(worker)] += 1


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One whole response with Content-Length. ValueError or EOFError when it is not that."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    version, status, _ = first.split(" ", 2)
    if version != "HTTP/1.1":
        raise ValueError(f"not a response: {first!r}")
    fields = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
    content = await reader.readexactly(int(fields["content-length"]))
    return int(status), fields, content
