"""How a client connects: User-Agent, proxies, authorities, a client of one's own, event loops."""

from __future__ import annotations

import asyncio
import ssl
import tomllib
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
from trailseal import AsyncClient, Client, _connect, config, errors

from .conftest import URL, Script, Side, answer, make_key
from .test_transport import ME

ROOT = Path(__file__).parents[3]


def test_the_version_is_that_of_the_distribution() -> None:
    """It is written twice, because reading it costs 10 ms."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == config.VERSION


@pytest.mark.row("P-02", "P-04")
def test_the_application_is_named_in_the_user_agent(side: Side, script: Script) -> None:
    """`app` comes last; what is no token is refused."""
    script.steps = [answer(200, ME)]
    side.settle(side.make(app="billing/1.2").whoami())
    agent = f"trailseal-python/{config.VERSION} billing/1.2"
    assert script.requests[0].headers["user-agent"] == agent
    for wrong in ("a b", "a\r\nX: y", ""):
        with pytest.raises(errors.ConfigurationError, match="app"):
            side.make(app=wrong)


@pytest.mark.parametrize("kind", [Client, AsyncClient], ids=["sync", "async"])
def test_a_client_of_one_s_own_is_used_and_left_as_it_was(kind: type, script: Script) -> None:
    """Its headers and hooks count; the key travels with each request; closing leaves it open."""
    script.steps = [answer(200, ME), answer(200)]
    watched: list[str] = []
    transport = httpx.MockTransport(script)

    async def awatch(request: httpx.Request) -> None:
        watched.append(request.method)

    own: Any
    if kind is Client:
        own = httpx.Client(
            transport=transport,
            headers={"X-Own": "1"},
            auth=("u", "p"),
            event_hooks={"request": [lambda request: watched.append(request.method)]},
        )
    else:
        own = httpx.AsyncClient(
            transport=transport,
            headers={"X-Own": "1"},
            auth=("u", "p"),
            event_hooks={"request": [awatch]},
        )
    side = Side(kind, script)
    client = kind(URL, make_key(), http_client=own)
    side.settle(client.whoami())
    side.settle(client.close())
    request = script.requests[0]
    assert request.headers["authorization"] == f"Bearer {make_key()}"
    assert (request.headers["x-own"], watched) == ("1", ["GET"])
    assert "authorization" not in own.headers
    assert not own.is_closed
    side.settle(own.get("http://elsewhere.test"))
    assert make_key() not in str(script.requests[1].headers.raw)
    side.settle(own.aclose() if kind is AsyncClient else own.close())
    with pytest.raises(errors.ConfigurationError, match="http_client"):
        kind(URL, make_key(), http_client=own, proxy="http://p.test:1")
    side.close()


def test_the_wrong_kind_of_client_is_named() -> None:
    """An asynchronous one cannot serve the blocking client."""
    client = Client(URL, make_key(), http_client=object())
    with pytest.raises(errors.ConfigurationError, match=r"httpx\.Client"):
        client.whoami()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tls", "/no/such/file"),
        ("tls", 5),
        ("proxy", "ftp://p.test"),
        ("proxy", "p.test:8080"),
        ("max_connections", 0),
        ("max_connections", True),
    ],
)
def test_what_cannot_work_is_refused_before_any_io(setting: str, value: object) -> None:
    """The message names the setting."""
    with pytest.raises(errors.ConfigurationError, match=setting):
        Client(URL, make_key(), **{setting: value})  # type: ignore[arg-type]  # wrong on purpose


def test_a_proxy_s_password_is_never_shown() -> None:
    """Not in the repr of the client, nor of its settings."""
    client = Client(URL, make_key(), proxy="http://user:hush@proxy.test:8080")
    assert "hush" not in repr(client) + repr(client._transport._connection)
    client.close()


@pytest.mark.parametrize("from_environment", [False, True])
def test_a_proxy_is_used(from_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, or named by the environment; `trust_env=False` does not look there."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = "http://127.0.0.1:9"
    if from_environment:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    given = {} if from_environment else {"proxy": proxy}
    made = _connect.blocking(config.connection(**given))  # type: ignore[arg-type]  # str
    pool = made._transport_for_url(httpx.URL("http://server.test"))._pool  # type: ignore[attr-defined]  # an HTTPTransport
    assert type(pool).__name__ == "HTTPProxy"
    assert pool._keepalive_expiry == 60
    plain = _connect.blocking(config.connection(trust_env=False))
    assert type(plain._transport._pool).__name__ == "ConnectionPool"  # type: ignore[attr-defined]  # as above
    made.close()
    plain.close()


def test_given_authorities_are_the_only_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA bundle replaces the system's; a context is taken as it is."""
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())  # conftest.py leaves the system none
    context = ssl.create_default_context()
    assert config.check_tls(context) is context
    empty = config.check_tls(str(tmp_path))
    assert isinstance(empty, ssl.SSLContext)
    assert empty.verify_mode is ssl.CERT_REQUIRED
    assert empty.check_hostname
    assert empty.cert_store_stats()["x509_ca"] == 0


def test_an_asynchronous_client_belongs_to_one_event_loop(script: Script) -> None:
    """In another one it says so, instead of failing somewhere below."""
    script.steps = [answer(200, ME), answer(200, ME)]
    client = AsyncClient(URL, make_key(), http_transport=httpx.MockTransport(script))
    asyncio.run(client.whoami())  # type: ignore[arg-type]  # a coroutine
    with pytest.raises(errors.ConfigurationError, match="event loop"):
        asyncio.run(client.whoami())  # type: ignore[arg-type]  # as above
    asyncio.run(client.close())
