"""Sends one attempt, and says how it went. With `_failures`, `_connect`, `_deadline`, `_idle`,
`_large` and `_aiohttp` the only module that reaches httpx.

1. Nothing is opened before the first request; then one connection pool serves all calls.
2. What httpx raises becomes an `Outcome`; no exception of httpx leaves here.
3. The deadline holds for the whole attempt, down to the single read of a socket (`_deadline`).
4. A body in memory has a limit (`_body`).
5. Requests go to the transport below the httpx client: cookies, redirects and merged URLs are of no
   use to a JSON API and cost as much as the sending. A user's own client is asked itself.
6. The API key goes to the base URL's origin and nowhere else.
7. httpx is imported by the first request: it is most of what importing a client would cost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from trailseal._body import Body
from trailseal._failures import failed, of_httpx, raised
from trailseal._flow import Attempt, Outcome, Request
from trailseal._watch import Watch, note
from trailseal.config import Connection, Settings
from trailseal.errors import ClosedError, ConfigurationError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    import httpx
    from trailseal_api.client import AuthenticatedClient

CONNECT_TIMEOUT = 5.0  # seconds: a server that is there accepts at once, and another try is better
MAX_URLS = 256  # parsed URLs kept: few paths make up most calls


class _Base:
    """What both transports share: how requests are made."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings, self._connection, self._hooks = settings, connection, settings.hooks
        self._lock = threading.Lock()
        self._http: Any = None
        self._handle: Callable[[httpx.Request], Any] | None = None
        self._api: AuthenticatedClient | None = None
        self._urls: dict[str, httpx.URL] = {}
        self._fixed: list[tuple[str, str]] = []
        self.closed = False

    def _use(self, http: Any, handle: str) -> None:
        """Take a client; `handle` names the transport's method that sends."""
        import httpx  # noqa: PLC0415  # rule 7

        base = httpx.URL(self._settings.base_url)
        self._fixed = [
            ("Host", base.netloc.decode("ascii")),
            ("Authorization", f"Bearer {self._settings.api_key}"),
            ("User-Agent", self._connection.user_agent),
        ]
        if self._connection.http_client is None:
            self._handle = getattr(http._transport_for_url(base), handle)  # noqa: SLF001  # rule 5; its choice of proxy
        self._http = http

    def _request(self, attempt: Attempt, left: float, extra: Mapping[str, str]) -> httpx.Request:
        import httpx  # noqa: PLC0415  # rule 7

        request = attempt.request
        here = request.url.startswith("/")  # else it is another's, who gets no key
        fixed = self._fixed if here else self._fixed[2:]
        coding = "identity" if attempt.sink else "gzip"  # ranges and digests are of bytes as stored
        headers = [*fixed, ("Accept-Encoding", coding), *request.headers.items(), *extra.items()]
        timeout = {"connect": min(left, CONNECT_TIMEOUT), "read": left, "write": left, "pool": left}
        content, url = request.content, self._url(request, here=here)
        stream: Any = None
        if content is None or isinstance(content, bytes):
            stream = httpx.ByteStream(content or b"")
            if content is not None:
                headers.append(("Content-Length", str(len(content))))
        else:
            headers.append(("Content-Length", str(content.size)))
        if self._handle and here and stream:
            extensions = {"timeout": timeout}
            return httpx.Request(
                request.method, url, headers=headers, stream=stream, extensions=extensions
            )
        whole: Any = (
            content if content is None or stream else self._stream(cast("Any", content).chunks())
        )
        made: httpx.Request = self._http.build_request(
            request.method,
            url,
            headers=headers,
            content=whole,
            timeout=httpx.Timeout(**timeout),
        )
        return made

    def _url(self, request: Request, *, here: bool) -> httpx.URL:
        """The parsed URL, kept for the next call; a name, because parsing costs 20 µs."""
        key = f"{request.url}?{request.params}" if request.params else request.url
        url = self._urls.get(key)
        if url is None:
            import httpx  # noqa: PLC0415  # rule 7

            text = self._settings.base_url + request.url if here else request.url
            url = httpx.URL(text, params=request.params) if request.params else httpx.URL(text)
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            self._urls[key] = url
        return url

    def _stream(self, chunks: Iterator[bytes]) -> Iterator[bytes] | AsyncIterable[bytes]:
        """A body's pieces as this side sends them."""
        return chunks

    def _generated(self) -> AuthenticatedClient:
        if self._api is None:
            from trailseal_api.client import AuthenticatedClient  # noqa: PLC0415  # few need it

            self._api = AuthenticatedClient(self._settings.base_url, token=self._settings.api_key)
        return self._api

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("The client is closed.")


class Transport(_Base):
    """Blocking."""

    def http(self) -> httpx.Client:
        """The httpx client, made at first use."""
        with self._lock:
            self._check_open()
            if self._http is None:
                from trailseal import _connect  # noqa: PLC0415  # rule 7

                self._use(_connect.blocking(self._connection), "handle_request")
            return cast("httpx.Client", self._http)

    @property
    def api(self) -> AuthenticatedClient:
        """The generated client on the same connections."""
        return self._generated().set_httpx_client(self.http())

    def send(self, attempt: Attempt, left: float) -> Outcome:
        """Send one attempt within `left` seconds."""
        if not self._hooks:
            return self._exchange(attempt, left, {})
        with Watch(self._hooks, attempt.request) as watch:
            watch.outcome = self._exchange(attempt, left, watch.headers)
            return watch.outcome

    def _exchange(self, attempt: Attempt, left: float, extra: Mapping[str, str]) -> Outcome:
        from trailseal._deadline import until  # noqa: PLC0415  # rule 7

        deadline = time.monotonic() + left
        try:
            with until(deadline):
                if self._http is None or self.closed:
                    self.http()
                response = self._sent(attempt, self._request(attempt, left, extra))
                try:
                    headers = _headers(response)
                    body = Body(attempt, response.status_code, headers)
                    stream = cast("Iterable[bytes]", response.stream)
                    if attempt.sink:
                        from trailseal._large import pieces  # noqa: PLC0415  # few need it

                        stream = pieces(response, headers, deadline)
                    for piece in stream:
                        body.feed(piece)
                    return note(attempt.request, body.finish())
                finally:
                    response.close()
        except raised() as error:
            if time.monotonic() >= deadline:
                return failed(attempt.request, "deadline", "the answer took too long")
            return of_httpx(attempt.request, error, self._settings.base_url, self._connection)

    def _sent(self, attempt: Attempt, request: httpx.Request) -> httpx.Response:
        if self._handle and attempt.request.url.startswith("/"):
            return cast("httpx.Response", self._handle(request))
        client = cast("httpx.Client", self._http)
        if self._handle:  # past httpx's log, which shows URLs: another's may be a permission
            return client._transport_for_url(request.url).handle_request(request)  # noqa: SLF001  # rule 5
        return client.send(request, stream=True, auth=None, follow_redirects=False)

    def close(self) -> None:
        """Close the connections, of a client of one's own not; later calls raise `ClosedError`."""
        with self._lock:
            self.closed = True
            if self._http is not None and self._connection.http_client is None:
                self._http.close()


class AsyncTransport(_Base):
    """On asyncio; for the event loop that uses it first."""

    _loop: AbstractEventLoop | None = None

    def _stream(self, chunks: Iterator[bytes]) -> AsyncIterable[bytes]:
        from trailseal_api.types import async_content  # noqa: PLC0415  # few need it

        return cast("AsyncIterable[bytes]", async_content(chunks))

    def http(self) -> httpx.AsyncClient:
        """The httpx client, made at first use."""
        with self._lock:
            self._check_open()
            if self._http is None:
                from trailseal import _connect  # noqa: PLC0415  # rule 7

                self._use(_connect.asynchronous(self._connection), "handle_async_request")
            return cast("httpx.AsyncClient", self._http)

    @property
    def api(self) -> AuthenticatedClient:
        """The generated client on the same connections."""
        return self._generated().set_async_httpx_client(self.http())

    async def send(self, attempt: Attempt, left: float) -> Outcome:
        """Send one attempt within `left` seconds."""
        if not self._hooks:
            return await self._exchange(attempt, left, {})
        with Watch(self._hooks, attempt.request) as watch:
            watch.outcome = await self._exchange(attempt, left, watch.headers)
            return watch.outcome

    async def _exchange(self, attempt: Attempt, left: float, extra: Mapping[str, str]) -> Outcome:
        import asyncio  # noqa: PLC0415  # see `_flow.arun`

        request: httpx.Request | None = None
        try:
            async with asyncio.timeout(left):
                if self._http is None or self.closed:
                    self.http()
                self._check_loop(asyncio.get_running_loop())
                request = self._request(attempt, left, extra)
                response = await self._sent(attempt, request)
                chunks = aiter(cast("AsyncIterable[bytes]", response.stream))
                try:
                    body = Body(attempt, response.status_code, _headers(response))
                    async for chunk in chunks:
                        body.feed(chunk)
                    return note(attempt.request, body.finish())
                finally:
                    await response.aclose()
                    if isinstance(chunks, AsyncGenerator):  # left to itself, it ends after the loop
                        await chunks.aclose()
        except TimeoutError:
            await self._swept(request)
            return failed(attempt.request, "deadline", "the answer took too long")
        except asyncio.CancelledError:
            await self._swept(request)
            raise
        except raised() as error:
            return of_httpx(attempt.request, error, self._settings.base_url, self._connection)

    async def _swept(self, request: httpx.Request | None) -> None:
        if self._http is not None:
            from trailseal._deadline import sweep  # noqa: PLC0415  # rule 7

            await sweep(self._http, request)

    def _check_loop(self, loop: AbstractEventLoop) -> None:
        self._loop = self._loop or loop
        if self._loop is not loop:
            text = "An AsyncClient belongs to the event loop of its first call: make one in each."
            raise ConfigurationError(text)

    async def _sent(self, attempt: Attempt, request: httpx.Request) -> httpx.Response:
        if self._handle and attempt.request.url.startswith("/"):
            return cast("httpx.Response", await self._handle(request))
        client = cast("httpx.AsyncClient", self._http)
        if self._handle:  # past httpx's log, which shows URLs: another's may be a permission
            return await client._transport_for_url(request.url).handle_async_request(request)  # noqa: SLF001  # rule 5
        return await client.send(request, stream=True, auth=None, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections, of a client of one's own not; later calls raise `ClosedError`."""
        with self._lock:
            self.closed = True
        if self._http is not None and self._connection.http_client is None:
            await self._http.aclose()


def _headers(response: httpx.Response) -> dict[str, str]:
    """Names in lower case; repeated ones are joined (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in response.headers.raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
