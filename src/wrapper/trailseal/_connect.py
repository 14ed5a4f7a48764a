"""Making the httpx clients beneath: one connection pool for a client, found or built.

1. Idle connections live for `KEEPALIVE_EXPIRY`; one that the server closed meanwhile is noticed
   before it is used.
2. Redirects are never followed, cookies never kept: an API key must not wander.
3. A user's own httpx client is used as it is: its proxies, certificates and event hooks count; the
   key travels with each request, and is never set on the client.
4. Under asyncio the pool is aiohttp's where that is installed (`trailseal[fast]`): with many calls
   in flight, httpx's own costs several times as much (ADR 6).
"""

from __future__ import annotations

from typing import Any, TypeVar

import httpx

from trailseal import _idle
from trailseal._deadline import install
from trailseal.config import Connection
from trailseal.errors import ConfigurationError

T = TypeVar("T", httpx.Client, httpx.AsyncClient)

KEEPALIVE_EXPIRY = 60.0  # seconds: audit events come now and then, and a handshake costs more

KEPT_BY_HTTPX = 20  # idle connections under asyncio: its pool asks each one at every step


def blocking(connection: Connection) -> httpx.Client:
    """Make, or take, the blocking client."""
    given = connection.http_client
    if given is None:
        return install(_made(httpx.Client, connection, transport=connection.http_transport))
    if not isinstance(given, httpx.Client):
        raise ConfigurationError("http_client= must be an httpx.Client here.")
    return install(given)


def asynchronous(connection: Connection) -> httpx.AsyncClient:
    """Make, or take, the asynchronous client; in the event loop that is to use it."""
    given = connection.http_client
    if given is not None:
        if not isinstance(given, httpx.AsyncClient):
            raise ConfigurationError("http_client= must be an httpx.AsyncClient here.")
        return given
    transport = connection.http_transport
    if transport is None and _fast(connection):
        from trailseal._aiohttp import AiohttpTransport  # noqa: PLC0415  # optional

        transport = AiohttpTransport(
            verify=_context(connection),
            proxy=connection.proxy,
            trust_env=connection.trust_env,
            max_connections=connection.max_connections,
            keepalive=KEEPALIVE_EXPIRY,
        )
    return _idle.install(_made(httpx.AsyncClient, connection, transport=transport))


def _fast(connection: Connection) -> bool:
    from importlib.util import find_spec  # noqa: PLC0415  # asynchronous clients only

    socks = (connection.proxy or "").startswith("socks")  # aiohttp has none
    return not socks and find_spec("aiohttp") is not None


def _context(connection: Connection) -> Any:
    try:
        return httpx.create_ssl_context(connection.tls, trust_env=connection.trust_env)
    except OSError:
        raise ConfigurationError("SSL_CERT_FILE or SSL_CERT_DIR cannot be read.") from None


def _made(kind: type[T], connection: Connection, *, transport: Any) -> T:
    limits = httpx.Limits(
        max_connections=connection.max_connections,
        max_keepalive_connections=KEPT_BY_HTTPX if kind is httpx.AsyncClient else None,
        keepalive_expiry=KEEPALIVE_EXPIRY,
    )
    try:
        return kind(
            headers={"User-Agent": connection.user_agent, "Accept-Encoding": "gzip"},
            verify=connection.tls if transport else _context(connection),
            proxy=connection.proxy if transport is None else None,
            trust_env=connection.trust_env and transport is None,
            limits=limits,
            follow_redirects=False,
            transport=transport,
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # of SOCKS; of a proxy's URL
        raise ConfigurationError(
            f"The proxy cannot be used ({type(error).__name__}): check proxy=, HTTP_PROXY and "
            "the like; SOCKS needs httpx[socks]."
        ) from None
