"""One deadline for all of a blocking request, to the single read.

httpx gives each read of a socket the whole timeout again: a server that drips a byte now and then
holds a call for ever. Here every operation on a socket may take only what is left of the call.
(On asyncio `asyncio.timeout` does this.) httpcore has the place for it, a network backend; httpx
offers no way to it, so this module reaches through private attributes, and tests with a dripping
server and with cancelled calls notice if they ever move.
"""

# ruff: noqa: SLF001  # reaching through is what this module is for: see above
from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any

import httpcore
import httpx

_deadline: ContextVar[float | None] = ContextVar("trailseal_deadline", default=None)


class until:  # noqa: N801  # used like a function
    """Let every socket operation of this context end at a moment (of `time.monotonic`)."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._token: Token[float | None] = _deadline.set(self._deadline)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


def install(client: httpx.Client) -> httpx.Client:
    """Put the deadline under a client's connection pools, the ones of proxies included.

    Without `until` nothing changes, so a client of the user's own may have it too.
    """
    transports = [client._transport, *client._mounts.values()]
    for pool in (getattr(transport, "_pool", None) for transport in transports):
        if isinstance(pool, httpcore.ConnectionPool):
            backend = pool._network_backend
            if not isinstance(backend, _Backend):
                pool._network_backend = _Backend(backend)
    return client


async def sweep(client: httpx.AsyncClient, request: httpx.Request | None) -> None:
    """Take a cancelled request out of the connection pool, and close what it was using.

    httpcore 1.0 loses a connection that is cancelled while it is being closed, or between being
    made and being used: it would count against `max_connections` for ever. A test that cancels at
    random moments notices.
    """
    transports = [client._transport, *client._mounts.values()]
    for pool in (getattr(transport, "_pool", None) for transport in transports):
        if isinstance(pool, httpcore.AsyncConnectionPool):
            await _sweep(pool, request.extensions if request else None)


async def _sweep(pool: Any, mark: Any) -> None:
    """Sweep one pool; a request of it is known by its `extensions`, which httpx hands through."""
    pool._requests[:] = [each for each in pool._requests if each.request.extensions is not mark]
    used = {id(each.connection) for each in pool._requests}
    lost = [
        each
        for each in pool.connections
        if id(each) not in used and not each.is_idle() and not each.is_closed()
    ]
    pool._connections[:] = [each for each in pool._connections if each not in lost]
    lost += pool._assign_requests_to_connections()  # those that waited for the room
    for each in lost:
        await each.aclose()


def _left(timeout: float | None) -> float | None:
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the call's deadline has passed")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        connect = self._inner.connect_tcp
        return _Stream(connect(host, port, _left(timeout), local_address, socket_options))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, _left(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
