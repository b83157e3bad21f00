"""wrk: how it is called, and what it said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")

CLOSE = ("Connection: close",)

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de-CH;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://127.0.0.1/clustered?from=the-page-before&campaign=benchmarks",
    "Cookie: session=eyJfZnJlc2giOmZhbHNlLCJ1c2VyIjoxMjM0fQ.aSF0Zg.s7cq2v5mW3bO8yXr9kTnJ4LdQ1E; "
    "csrftoken=Jx8vT2mQ0pLr6yNcW4sKdZ7hB1gF9aEu; theme=dark; _ga=GA1.1.1234567890.1700000000; "
    "_ga_ABCDEF1234=GS1.1.1700000000.12.1.1700000123.0.0.0",
    "DNT: 1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)
"""With Host, the 12 header fields that a browser sends for a page."""


@dataclass(frozen=True)
class Errors:
    """What went wrong, in wrk's own classes. ``status``: neither 2xx nor 3xx."""

    connect: int = 0
    read: int = 0
    write: int = 0
    status: int = 0
    timeout: int = 0

    @property
    def total(self) -> int:
        return self.connect + self.read + self.write + self.status + self.timeout


@dataclass(frozen=True)
class Outcome:
    """What one run of wrk saw. Times in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    p999: float
    longest: float
    errors: Errors = field(default_factory=Errors)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Load:
    """What is asked, and how hard."""

    path: str = "/clustered"
    turns: tuple[str, ...] = ()
    """Paths that are asked one after the other, again and again, instead of ``path``."""
    headers: tuple[str, ...] = ()
    connections: int = 64
    threads: int = 2
    patience: int = 2
    """Seconds after which an answer is an error, and is in no percentile."""
    least: float = 0.0
    """Seconds it has to last: requests that are under way at its end count nowhere, and where
    answers take a second those are the slow ones."""

    def command(self, port: int, seconds: float) -> list[str]:
        """wrk's command line. wrk counts in whole seconds."""
        command = ["wrk", f"-t{self.threads}", f"-c{self.connections}", f"-d{round(seconds)}s"]
        command.append(f"--timeout={self.patience}s")
        for header in self.headers:
            command += ["-H", header]
        command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{self.path}"]
        return [*command, "--", *self.turns] if self.turns else command


def parse(output: str) -> Outcome:
    """The outcome in wrk's output. ValueError when it is not there."""
    for line in output.splitlines():
        if line.startswith("JSON "):
            return _outcome(json.loads(line[5:]))
    raise ValueError(f"wrk did not say what happened: {output.strip()[-500:]!r}")


def _outcome(said: dict[str, int]) -> Outcome:
    return Outcome(
        requests=said["requests"],
        seconds=said["duration_us"] / 1e6,
        p50=said["p50_us"] / 1000,
        p90=said["p90_us"] / 1000,
        p99=said["p99_us"] / 1000,
        p999=said["p999_us"] / 1000,
        longest=said["max_us"] / 1000,
        errors=Errors(**{key: said[key] for key in Errors.__dataclass_fields__}),
    )


def run(load: Load, port: int, seconds: float, prefix: Sequence[str] = ()) -> Outcome:
    """Put it on a server and wait for the end. ``prefix``: a command such as taskset."""
    done = subprocess.run(
        [*prefix, *load.command(port, seconds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    return parse(done.stdout + done.stderr)
