"""What it means that httpx failed: whether the request may have arrived, and where it broke."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from trailseal._flow import Request
from trailseal._watch import note
from trailseal.config import Connection
from trailseal.errors import TransportError, from_transport

MAX_CAUSES = 8  # exceptions below one of httpx: four, where anyio tries several addresses
BROKEN = {"ReadError": "closed or cut off", "RemoteProtocolError": "cut off, or no HTTP"}


def raised() -> tuple[type[Exception], ...]:
    """What httpx raises."""
    import httpx  # noqa: PLC0415  # `_transport`, rule 7

    return (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


def failed(request: Request, phase: Any, reason: str) -> TransportError:
    """The error of a phase, told to the hooks."""
    error = from_transport(phase, reason, request.headers.get("Request-Id"))
    note(request, error)
    return error


def of_httpx(
    request: Request, error: Exception, base_url: str, connection: Connection
) -> TransportError:
    """Judge an exception of httpx by whether the request may have reached the server."""
    import httpx  # noqa: PLC0415  # `_transport`, rule 7

    reason = type(error).__name__
    place = _place(request.url, base_url, connection)
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    if isinstance(error, (*unsent, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return failed(request, "connect", f"{place}: {_system_reason(error) or reason}")
    if isinstance(error, httpx.TimeoutException):
        return failed(request, "timeout", place)
    reason = _system_reason(error) or BROKEN.get(reason, reason)
    if place.startswith("http:") and not str(error).startswith("peer closed"):  # in a body
        reason = f"{reason}; is it https?"
    return failed(request, "read", f"{place}: {reason}")


def _place(url: str, base_url: str, connection: Connection) -> str:
    """Where a request went, without what may be a permission; and whether by a proxy."""
    if url.startswith("/"):
        place = base_url
    else:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
    proxy = connection.proxy
    if proxy is None and connection.trust_env and connection.http_client is None:
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  # for failures only

        known, parts = getproxies(), urlsplit(place)
        if not proxy_bypass(parts.hostname or ""):
            proxy = known.get(parts.scheme) or known.get("all")
    host = urlsplit(proxy or "").netloc.rpartition("@")[2]
    return f"{place} by the proxy {host}" if host else place


def _system_reason(error: BaseException) -> str | None:
    """The system's own words below an error, such as `Connection refused`."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        cause = cause and (cause.__cause__ or cause.__context__)
        if isinstance(cause, OSError) and cause.strerror:
            if cause.strerror.startswith("Connect call failed"):  # asyncio's words
                return os.strerror(cause.errno or 0)
            return cause.strerror.partition(" (_ssl.c")[0]
    return None
