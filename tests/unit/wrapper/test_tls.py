"""What is said where the two sides do not agree on TLS; over real sockets."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trailseal import AsyncClient, Client, errors

from .conftest import make_key

DAY = datetime.timedelta(days=1)
TIMEOUT = 30.0  # seconds; nothing here waits
ANSWER = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `localhost`, signed by itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, pkcs8, none))
    return path


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def port(request: pytest.FixtureRequest, certificate: Path) -> Iterator[int]:
    """A server that speaks TLS, or does not; it answers nothing of use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                connection.settimeout(TIMEOUT)
                wrap = context.wrap_socket if request.param else None
                with wrap(connection, server_side=True) if wrap else connection as spoken:
                    spoken.recv(65_536)
                    spoken.sendall(ANSWER)

    with create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(2)


def failure(kind: type, url: str, **options: Any) -> str:
    """What a call raises."""
    given = {"max_retries": 0, "timeout": TIMEOUT, **options}

    async def asked() -> None:
        async with AsyncClient(url, make_key(), **given) as client:
            await client.whoami()

    def ask() -> None:
        with Client(url, make_key(), **given) as client:
            client.whoami()

    with pytest.raises(errors.ApiError) as caught:
        ask() if kind is Client else asyncio.run(asked())
    return str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_each_disagreement_about_tls_says_what_mends_it(
    kind: type, port: int, certificate: Path, request: pytest.FixtureRequest
) -> None:
    """The wrong scheme, both ways; an unknown authority; another host's certificate."""
    secure, plain = f"https://localhost:{port}", f"http://localhost:{port}"
    if request.node.callspec.params["port"]:
        assert "is it https?" in failure(kind, plain)
        assert "Trust its authority" in failure(kind, secure)
        other = f"https://127.0.0.1:{port}"
        assert "a host name that the certificate names" in failure(kind, other, tls=certificate)
        assert "HTTP 400" in failure(kind, secure, tls=certificate)
    else:
        assert "http:// against https://" in failure(kind, secure)
        assert "HTTP 400" in failure(kind, plain)
