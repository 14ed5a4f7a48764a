"""The only module, with `_deadline`, that reaches httpx: sends one attempt, and says how it went.

1. Nothing is opened before the first request; then one connection pool serves all calls.
2. What httpx raises becomes an `Outcome`; no exception of httpx leaves here.
3. The deadline holds for the whole attempt, down to the single read of a socket (`_deadline`).
4. A body in memory has a limit, also when it is unpacked: a gzip bomb is an error.
5. Redirects are never followed: an API key must not wander.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from typing import Any, cast

import httpx
from trailseal_api.client import AuthenticatedClient
from trailseal_api.types import async_content

from trailseal._deadline import install, until
from trailseal._flow import Attempt, Outcome, Request, Response
from trailseal.config import Settings
from trailseal.errors import ClosedError, TransportError, UnexpectedResponseError, from_transport

MAX_BODY_BYTES = 32 << 20  # unpacked; a page of ordinary events is below 4 MiB
CONNECT_TIMEOUT = 5.0  # seconds: a server that is there accepts at once, and another try is better
KEEPALIVE_EXPIRY = 5.0  # seconds: below the idle limit of servers and proxies
MAX_CONNECTIONS = 100
MAX_CAUSES = 8  # exceptions below one of httpx: four, where anyio tries several addresses

_NOT_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol, httpx.InvalidURL),
)

_log = logging.getLogger("trailseal")


class _Base:
    """What both transports share: how requests are made, and what failures mean."""

    def __init__(self, settings: Settings, http_transport: Any = None) -> None:
        self.api = AuthenticatedClient(settings.base_url, token=settings.api_key)
        self._base_url = settings.base_url
        self._http_transport = http_transport
        self._lock = threading.Lock()
        self.closed = False

    def _options(self) -> dict[str, Any]:
        if self.closed:
            raise ClosedError("The client is closed.")
        from importlib.metadata import version  # noqa: PLC0415  # slow to import: at the first call

        return {
            "headers": {
                "User-Agent": f"trailseal-python/{version('trailseal')}",
                "Accept-Encoding": "gzip",
            },
            "limits": httpx.Limits(
                max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_EXPIRY
            ),
            "follow_redirects": False,
            "transport": self._http_transport,
        }

    def _prepare(self, attempt: Attempt, left: float) -> dict[str, Any]:
        request = attempt.request
        headers = dict(request.headers)
        if attempt.sink is not None:
            headers["Accept-Encoding"] = "identity"  # ranges and digests are of the bytes as stored
        raw = {"method": request.method, "url": request.url, "headers": headers}
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT))
        content: Any = request.content
        if content is not None and not isinstance(content, bytes):
            headers["Content-Length"] = str(content.size)
            content = self._stream(content.chunks())
        extra = {"params": request.params or None, "content": content, "timeout": timeout}
        here = request.url.startswith("/")  # else it is another's, who gets no key
        return {**(self.api.prepare(raw) if here else raw), **extra}

    def _stream(self, chunks: Iterator[bytes]) -> Iterator[bytes] | AsyncIterable[bytes]:
        """A body's pieces as this side sends them."""
        return chunks

    def _failure(self, request: Request, error: Exception) -> TransportError:
        """Judge an exception of httpx by whether the request may have reached the server."""
        reason = type(error).__name__
        if isinstance(error, _NOT_SENT):
            reason = f"{self._base_url}: {_system_reason(error) or reason}"
            return _failed(request, "connect", reason)
        return _failed(
            request, "timeout" if isinstance(error, httpx.TimeoutException) else "read", reason
        )


class Transport(_Base):
    """Blocking."""

    def http(self) -> httpx.Client:
        """The httpx client, made at first use."""
        with self._lock:
            if self.closed or self.api._client is None:  # noqa: SLF001  # ours: whether it was made yet
                self.api.set_httpx_client(install(httpx.Client(**self._options())))
            return self.api.get_httpx_client()

    def send(self, attempt: Attempt, left: float) -> Outcome:
        """Send one attempt within `left` seconds."""
        deadline = time.monotonic() + left
        try:
            with until(deadline):
                client = self.http()
                request = client.build_request(**self._prepare(attempt, left))
                response = client.send(request, stream=True)
                try:
                    body = _Body(attempt, response)
                    for chunk in cast("Iterable[bytes]", response.stream):
                        body.feed(chunk)
                    return _logged(attempt.request, body.finish())
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if time.monotonic() >= deadline:
                return _failed(attempt.request, "deadline", "the answer took too long")
            return self._failure(attempt.request, error)

    def close(self) -> None:
        """Close the connections; later calls raise `ClosedError`."""
        with self._lock:
            self.closed = True
            if self.api._client is not None:  # noqa: SLF001  # ours: whether it was made yet
                self.api.get_httpx_client().close()


class AsyncTransport(_Base):
    """On asyncio."""

    def _stream(self, chunks: Iterator[bytes]) -> AsyncIterable[bytes]:
        return cast("AsyncIterable[bytes]", async_content(chunks))

    def http(self) -> httpx.AsyncClient:
        """The httpx client, made at first use."""
        with self._lock:
            if self.closed or self.api._async_client is None:  # noqa: SLF001  # ours: whether it was made yet
                self.api.set_async_httpx_client(httpx.AsyncClient(**self._options()))
            return self.api.get_async_httpx_client()

    async def send(self, attempt: Attempt, left: float) -> Outcome:
        """Send one attempt within `left` seconds."""
        import asyncio  # noqa: PLC0415  # see `_flow.arun`

        try:
            async with asyncio.timeout(left):
                client = self.http()
                request = client.build_request(**self._prepare(attempt, left))
                response = await client.send(request, stream=True)
                chunks = aiter(cast("AsyncIterable[bytes]", response.stream))
                try:
                    body = _Body(attempt, response)
                    async for chunk in chunks:
                        body.feed(chunk)
                    return _logged(attempt.request, body.finish())
                finally:
                    await response.aclose()
                    if isinstance(chunks, AsyncGenerator):  # left to itself, it ends after the loop
                        await chunks.aclose()
        except TimeoutError:
            return _failed(attempt.request, "deadline", "the answer took too long")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return self._failure(attempt.request, error)

    async def close(self) -> None:
        """Close the connections; later calls raise `ClosedError`."""
        with self._lock:
            self.closed = True
        if self.api._async_client is not None:  # noqa: SLF001  # ours: whether it was made yet
            await self.api.get_async_httpx_client().aclose()


class _Body:
    """Takes the pieces of a body: into the attempt's sink, or into memory up to the limit."""

    def __init__(self, attempt: Attempt, response: httpx.Response) -> None:
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._head = Response(response.status_code, headers)
        self._sink = attempt.sink if response.is_success else None
        coding = headers.get("content-encoding", "identity").lower()
        if coding not in ({"identity"} if self._sink else {"identity", "gzip"}):
            raise UnexpectedResponseError(f"The answer has the content coding {coding[:20]!r}.")
        self._unzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if coding == "gzip" else None
        self._content = bytearray()
        if self._sink:
            self._sink.begin(self._head)

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._sink:
            self._sink.write(chunk)
            return
        if self._unzip:
            try:
                chunk = self._unzip.decompress(chunk, MAX_BODY_BYTES + 1 - len(self._content))
            except zlib.error:
                raise UnexpectedResponseError(
                    "The answer is no gzip, which it says it is."
                ) from None
        if len(self._content) + len(chunk) > MAX_BODY_BYTES:
            text = f"The answer has more than {MAX_BODY_BYTES} bytes: ask for less with limit=."
            raise UnexpectedResponseError(text, status=self._head.status)
        self._content += chunk

    def finish(self) -> Response:
        """The whole answer."""
        if self._unzip and self._content and not self._unzip.eof:
            raise UnexpectedResponseError("The gzip of the answer ends too early.")
        return Response(self._head.status, self._head.headers, bytes(self._content))


def _system_reason(error: BaseException) -> str | None:
    """The system's own words below an error, such as `Connection refused`."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        cause = cause and (cause.__cause__ or cause.__context__)
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return None


def _failed(request: Request, phase: Any, reason: str) -> TransportError:
    _log.debug("%s %s: %s", request.method, _shown(request.url), reason)
    return from_transport(phase, reason, request.headers.get("Request-Id"))


def _logged(request: Request, response: Response) -> Response:
    _log.debug("%s %s: %d", request.method, _shown(request.url), response.status)
    return response


def _shown(url: str) -> str:
    """A URL as a log may show it: its query may be a signed permission."""
    return url.partition("?")[0]
