"""A transport of httpx on aiohttp, for many calls at once under asyncio (extra `fast`).

It is ours, because what matters here is to tell whether a request may have reached the server:
only what fails while connecting counts as not sent. Bodies come as they are (nothing is
unpacked), URLs go as they are (nothing is quoted again), no cookies, no redirects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from yarl import URL

NEVER = aiohttp.ClientTimeout(total=None)  # the deadline of the call is `asyncio.timeout`'s
OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # not to be filled in

_NOT_SENT = (
    aiohttp.ClientConnectorError,  # also of names, certificates and proxies
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


def _mapped(error: Exception) -> httpx.TransportError:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("")
    if isinstance(error, _NOT_SENT):
        return httpx.ConnectError("")
    return httpx.ReadTimeout("") if isinstance(error, TimeoutError) else httpx.ReadError("")


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _mapped(error) from error

    async def aclose(self) -> None:
        """Keep the connection if all was read, else cut it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One `aiohttp.ClientSession`; made at first use, in the loop that uses it."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        proxy: str | None,
        trust_env: bool,
        max_connections: int,
        keepalive: float,
    ) -> None:
        self._verify, self._proxy, self._trust_env = verify, proxy, trust_env
        self._limit, self._keepalive = max_connections, keepalive
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._limit, keepalive_timeout=self._keepalive, ssl=self._verify
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=OWN,
            timeout=NEVER,
            trust_env=self._trust_env,
        )

    def __del__(self) -> None:
        if self._session is not None and not self._session.closed:
            self._session.detach()  # its connector warns, if connections are open

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the answer is read from its stream."""
        if self._session is None:
            self._session = self._open()
        stream = request.stream
        connect = request.extensions.get("timeout", {}).get("connect")
        try:
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[
                    (k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw
                ],
                data=b"".join(stream) if isinstance(stream, httpx.ByteStream) else stream,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect),
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _mapped(error) from error
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Stream(response)
        )

    async def aclose(self) -> None:
        """Close all connections, and let their transports see it."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)
