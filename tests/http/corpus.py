"""gunicorn's own requests: from its source distribution, with what its tests expect of each.

The package is fetched with pip once and kept in ``tests/.cache``: these files
are gunicorn's (MIT licence), so none of them is kept in this project.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import runpy
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.util import split_request_uri, unquote_to_wsgi_str

CACHE = Path(__file__).parent.parent / ".cache"

STATUS_OF = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.ForbiddenProxyRequest: 403,
}
"""As gunicorn's workers answer (``Worker.handle_error``); every other error is a 400."""

UNFINISHED = (errors.NoMoreData, errors.ChunkMissingTerminator)
"""What gunicorn says of a request that ends too early. Over a socket: closed, unanswered."""

PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


@dataclass
class Case:
    """One file of the corpus."""

    name: str
    data: bytes
    settings: dict[str, Any]
    """What its ``cfg`` sets that is not gunicorn's default."""
    environs: list[dict[str, str]] = field(default_factory=list)
    """What the app is to see of each request; none where the file is refused."""
    status: int | None = None
    """The answer to a file that is refused; None: no answer."""

    @property
    def lacks_host(self) -> bool:
        """Whether it holds an HTTP/1.1 request without the Host that RFC 9112 asks for."""
        return any(map(lacks_host, self.environs))

    @property
    def introduction(self) -> bytes:
        """What every connection has to begin with: a PROXY header that tells of no client."""
        mode = self.settings.get("proxy_protocol", "off")
        if mode == "off":
            return b""
        return b"PROXY UNKNOWN\r\n" if mode == "v1" else PROXY_V2 + b"\x20\0\0\0"

    def is_refused(self, environ: dict[str, str]) -> bool:
        """Whether a request that gunicorn takes is a 400 here; ``test_corpus.py`` says why."""
        lacks_header = self.introduction and not self.data.startswith((b"PROXY ", PROXY_V2))
        return lacks_host(environ) or environ["REQUEST_METHOD"] == "CONNECT" or bool(lacks_header)

    def with_host(self) -> Case:
        """The same with a Host for every request that lacks one."""
        data = re.sub(rb"( HTTP/1\.1\r\n)(?!Host:)", rb"\1Host: corpus\r\n", self.data)
        environs = [
            {"HTTP_HOST": "corpus", **environ} if lacks_host(environ) else environ
            for environ in self.environs
        ]
        return Case(f"{self.name} with a Host", data, self.settings, environs)


def lacks_host(environ: dict[str, str]) -> bool:
    """Whether RFC 9112 section 3.2 asks for a Host that is not there."""
    return environ["SERVER_PROTOCOL"] == "HTTP/1.1" and "HTTP_HOST" not in environ


def load() -> list[Case]:
    """The whole corpus. Skips the test where it cannot be had; fails in CI."""
    folder = CACHE / f"gunicorn-{importlib.metadata.version('gunicorn')}" / "requests"
    if not folder.is_dir():
        _fetch(folder)
    valid = [_valid(path) for path in sorted(folder.glob("valid/*.http"))]
    invalid = [_invalid(path) for path in sorted(folder.glob("invalid/*.http"))]
    assert len(valid) > 50, folder
    assert len(invalid) > 50, folder
    return valid + invalid


def _fetch(folder: Path) -> None:
    name = folder.parent.name
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    wanted = name.replace("-", "==")
    # Not through a proxy of wheels alone: only the source distribution has the tests.
    options = ["--no-deps", "--no-binary", "gunicorn", "--dest", str(CACHE), "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        reason = f"gunicorn's request corpus cannot be had from PyPI: {done.stderr[-300:]}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    _unpack(CACHE / f"{name}.tar.gz", folder)


def _unpack(archive: Path, folder: Path) -> None:
    """Write the corpus under another name first: an interrupted run leaves no half of it."""
    parts = folder.with_name(f"requests-{os.getpid()}")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, inside = member.name.partition("/tests/requests/")
            source = tar.extractfile(member) if inside else None
            if source:
                target = parts / Path(inside).parent.name / Path(inside).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
    parts.rename(folder)


def _valid(path: Path) -> Case:
    expected, settings = _sidecar(path)
    requests = expected if isinstance(expected, list) else [expected]
    case = Case(path.stem, _bytes_of(path), settings, [_environ(each) for each in requests])
    # File 099 announces more than it holds, which is not what it is about
    # (RFC 9112 section 8: incomplete): it gets the rest.
    last = case.environs[-1]
    missing = int(last.get("CONTENT_LENGTH", 0)) - len(last["body"])
    if missing > 0:
        case.data += b"." * missing
        last["body"] += "." * missing
    return case


def _invalid(path: Path) -> Case:
    error, settings = _sidecar(path)
    status = None if error in UNFINISHED else STATUS_OF.get(error, 400)
    return Case(f"invalid {path.stem}", _bytes_of(path), settings, status=status)


def _sidecar(path: Path) -> tuple[Any, dict[str, Any]]:
    """What gunicorn's tests expect, and the settings they expect it with."""
    names = {"uri": _uri, "cfg": Config()}  # type: ignore[no-untyped-call]
    found = runpy.run_path(str(path.with_suffix(".py")), names)
    values = {name: setting.get() for name, setting in found["cfg"].settings.items()}
    usual = Config().settings  # type: ignore[no-untyped-call]
    changed = {name: value for name, value in values.items() if value != usual[name].get()}
    return found["request"], changed


def _uri(raw: str) -> dict[str, str]:
    parts = split_request_uri(raw)  # type: ignore[no-untyped-call]
    return {"raw": raw, "path": parts.path or "", "query": parts.query or ""}


def _bytes_of(path: Path) -> bytes:
    """The request that a file spells out, as gunicorn's ``tests/treq.py`` reads it."""
    data = path.read_bytes().replace(b"\n", b"")
    for spelt, meant in ((rb"\r\n", b"\r\n"), (rb"\0", b"\0"), (rb"\n", b"\n"), (rb"\t", b"\t")):
        data = data.replace(spelt, meant)
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), data)


def _environ(request: dict[str, Any]) -> dict[str, str]:
    """What PEP 3333 makes of an expected request."""
    body = request["body"]
    environ = {
        "REQUEST_METHOD": request["method"],
        "RAW_URI": request["uri"]["raw"],
        "PATH_INFO": unquote_to_wsgi_str(request["uri"]["path"]),  # type: ignore[no-untyped-call]
        "QUERY_STRING": request["uri"]["query"],
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request["version"]),
        "body": body if isinstance(body, str) else body.decode("latin-1"),
    }
    for name, value in request["headers"]:
        own = name in ("CONTENT-TYPE", "CONTENT-LENGTH")
        key = ("" if own else "HTTP_") + name.replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
