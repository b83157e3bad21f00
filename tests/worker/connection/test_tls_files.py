"""TLS that cannot be set up is told in a line that names the setting and the file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from launcher.worker.connection.secure import NoTLS, tls_context

new_config: Any = Config  # gunicorn has no types


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate, its key, another key, and a file that is none of these."""
    folder = tmp_path_factory.mktemp("tls")
    key = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    certificate = "openssl req -x509 -key key.pem -subj /CN=localhost -out cert.pem"
    for command in ([*key, "-out", "key.pem"], [*key, "-out", "other.pem"], certificate.split()):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "junk.pem").write_text("junk\n")
    return folder


def asked(folder: Path, **settings: Any) -> Any:
    cfg = new_config()
    for name, value in settings.items():
        cfg.set(name, str(folder / value) if isinstance(value, str) else value)
    return tls_context(cfg)


def test_no_tls_is_asked_for(folder: Path) -> None:
    assert asked(folder) is None
    assert asked(folder, certfile="cert.pem", keyfile="key.pem") is not None


@pytest.mark.parametrize("lost", ["certfile", "keyfile", "ca_certs"])
def test_a_file_that_is_not_there(folder: Path, lost: str) -> None:
    settings = {"certfile": "cert.pem", "keyfile": "key.pem", lost: "lost.pem"}
    with pytest.raises(NoTLS) as said:
        asked(folder, **settings)
    line = f"TLS cannot be set up: {lost} {folder}/lost.pem: No such file or directory"
    assert str(said.value) == line


@pytest.mark.parametrize(
    "settings",
    [
        {"certfile": "cert.pem"},
        {"keyfile": "key.pem"},
        {"certfile": "junk.pem", "keyfile": "key.pem"},
        {"certfile": "cert.pem", "keyfile": "junk.pem"},
        {"certfile": "cert.pem", "keyfile": "other.pem"},
        {"certfile": "cert.pem", "keyfile": "key.pem", "ca_certs": "junk.pem"},
    ],
)
def test_files_that_are_wrong_are_named(folder: Path, settings: dict[str, str]) -> None:
    with pytest.raises(NoTLS, match=r"^TLS cannot be set up: [\w\[]") as said:
        asked(folder, **settings)
    assert "\n" not in str(said.value)
    assert all(name in str(said.value) for name in settings)


def test_a_hook_that_fails(folder: Path) -> None:
    def hook(_config: Any, _default: Any) -> Any:
        raise LookupError("no such secret")

    with pytest.raises(NoTLS, match="no such secret"):
        asked(folder, certfile="cert.pem", keyfile="key.pem", ssl_context=hook)
