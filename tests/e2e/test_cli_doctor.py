"""trailseal doctor: each thing that can be wrong has its line, with what to do."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from ipaddress import IPv4Address
from pathlib import Path
from time import time
from typing import Any

import pytest
import trailseal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trailseal.cli import _doctor_spool
from trailseal.cli._app import app
from trailseal_server.app import Running
from typer.testing import CliRunner

VERSION = metadata.version("trailseal")
Doctor = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def doctor(server: Running, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs it with a user's environment: the checks by name."""
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)

    def run(*arguments: object, code: int = 0) -> dict[str, dict[str, Any]]:
        result = CliRunner().invoke(app, ["doctor", "--json", *map(str, arguments)])
        assert (result.exit_code, result.stdout != "") == (code, True), result.output
        return {each["check"]: each for each in json.loads(result.stdout)["checks"]}

    return run


def make_certificate(folder: Path) -> Path:
    """One that signs itself, for 127.0.0.1, with its key, in a file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, day = datetime.now(UTC), timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    signed = made.add_extension(address, critical=True).sign(key, hashes.SHA256())
    pem, no = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no)
    path.write_bytes(private + signed.public_bytes(pem))
    return path


@contextmanager
def another_server(
    version: str = VERSION,
    *,
    skew: float | None = 0.0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """One whose version and clock are as said; without a Date where `skew` is None."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ok", "version": version}).encode()
            self.send_response_only(200)
            if skew is not None:
                self.send_header("Date", formatdate(time() + skew, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("skew", "says"), [(3600, "behind"), (-3600, "ahead of"), (None, "no time")]
)
def test_a_clock_that_is_wrong_is_a_warning(doctor: Doctor, skew: float | None, says: str) -> None:
    """Which way, and what to do; a missing Date is said, not guessed."""
    with another_server(skew=skew) as url:
        found = doctor("--url", url, code=1)["clock"]
    assert found["status"] == "warn"
    assert says in found["detail"]
    assert found["fix"]


def test_a_clock_that_is_right_is_no_warning(doctor: Doctor) -> None:
    """Two seconds are the network and the rounding of Date."""
    with another_server(skew=2) as url:
        assert doctor("--url", url, code=1)["clock"]["status"] == "ok"


@pytest.mark.parametrize(("version", "status"), [("99.0.0", "warn"), (VERSION, "ok")])
def test_another_contract_of_the_server_is_a_warning(
    doctor: Doctor, version: str, status: str
) -> None:
    """With the command that brings both to one version."""
    with another_server(version) as url:
        found = doctor("--url", url, code=1)["version"]
    assert found["status"] == status
    assert (f"trailseal=={version}" in found["fix"]) == (status == "warn")


def test_plain_http_beyond_this_machine_is_a_warning(doctor: Doctor, server: Running) -> None:
    """The key would travel in clear."""
    found = doctor("--url", server.url.replace("127.0.0.1", "0.0.0.0"))["tls"]  # noqa: S104  # of all addresses, none of which is loopback's name
    assert found["status"] == "warn"
    assert "https" in found["fix"]


def test_a_certificate_that_nobody_trusts_is_named(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 5 with SSL_CERT_FILE as the way out, which is one."""
    certificate = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with another_server(tls=tls) as url:
        found = doctor("--url", url, code=5)
        assert found["tls"]["status"] == "ok"
        assert found["server"]["status"] == "fail"
        assert "SSL_CERT_FILE" in found["server"]["fix"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert doctor("--url", url, code=1)["server"]["status"] == "ok"


# ------------------------------------------------------------------------ spool


def leave(folder: Path, server: Running) -> None:
    """A process ends with one event in its spool."""
    with (
        trailseal.Client("http://127.0.0.1:9", server.key, max_retries=0) as client,
        trailseal.Audit(client, spool=folder, exit_timeout=0.1) as audit,
    ):
        audit.log("a")


@pytest.mark.row("J-01")
def test_the_spool_is_looked_at_where_there_is_one(
    doctor: Doctor, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None, one to come, and one with what a process has left: with the command that sends it."""
    assert "spool" not in doctor()
    folder = tmp_path / "spool"
    monkeypatch.setenv("TRAILSEAL_SPOOL_DIR", str(folder))
    assert doctor()["spool"]["status"] == "ok"
    assert not folder.exists()
    leave(folder, server)
    found = doctor()["spool"]
    assert found["status"] == "warn"
    assert "1 event left" in found["detail"]
    assert f"trailseal spool drain --folder {folder}" in found["fix"]
    assert doctor("--spool", tmp_path / "other")["spool"]["status"] == "ok"


def test_a_spool_that_others_may_read_fails(doctor: Doctor, tmp_path: Path) -> None:
    """As it would at the first event: exit 2."""
    tmp_path.chmod(0o755)
    found = doctor("--spool", tmp_path, code=2)["spool"]
    assert (found["status"], "chmod 700" in found["detail"]) == ("fail", True)


def test_damage_and_a_full_disk_are_warnings(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are said."""
    tmp_path.chmod(0o700)
    (tmp_path / "000000000000-x.damaged-1").write_bytes(b"x")
    assert "1 damaged file " in doctor("--spool", tmp_path)["spool"]["detail"]
    (tmp_path / "000000000000-x.damaged-1").unlink()
    monkeypatch.setattr(_doctor_spool, "LOW", 1 << 80)  # no disk has that
    found = doctor("--spool", tmp_path)["spool"]
    assert (found["status"], "MiB left" in found["detail"]) == ("warn", True)
