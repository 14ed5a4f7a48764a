"""The server in this process: its application on an event loop of its own, reached without a port.

1. It is the real one, on a temporary SQLite database; it ends with the block, and leaves nothing.
2. One transport serves blocking and asynchronous clients, from any thread and event loop.
3. Requests to other hosts are refused: a test reaches nothing by mistake.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from trailseal.errors import ConfigurationError

URL = "http://audit-log.test"  # a name that resolves nowhere (RFC 6761)
START_SECONDS = 60.0  # far more than making a database takes
CODES = {
    401: "unauthenticated",
    402: "quota_exceeded",
    403: "permission_denied",
    429: "rate_limited",
    500: "internal_error",
    502: "bad_gateway",
    503: "unavailable",
    504: "gateway_timeout",
    507: "storage_full",
}


class Server:
    """One server and its database; `key` may do everything."""

    def __init__(self) -> None:
        try:
            from trailseal_server.app import create_app  # noqa: PLC0415  # an extra, and slow
            from trailseal_server.settings import Settings  # noqa: PLC0415  # as above
        except ModuleNotFoundError as error:
            text = f"trailseal.testing needs an extra ({error.name} is missing): "
            raise ConfigurationError(text + "pip install 'trailseal[server]'.") from error
        self._folder = tempfile.TemporaryDirectory(prefix="trailseal-test-")
        url = f"sqlite:///{Path(self._folder.name) / 'trailseal.db'}"
        self.state_file = Path(self._folder.name) / "checkpoints.json"  # the clients' memory
        self._app: Any = create_app(Settings(database_url=url, requests_per_second=0))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started: concurrent.futures.Future[str] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="trailseal-test-server", daemon=True)
        self._thread.start()
        self.key = self._started.result(START_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        from trailseal_server.services import bootstrap  # noqa: PLC0415  # see above

        try:
            async with self._app.router.lifespan_context(self._app):
                key = bootstrap(self._app.state.services.store)
                assert key is not None  # noqa: S101  # the database is new
                self._started.set_result(key)
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def close(self) -> None:
        """End it and remove its database."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._folder.cleanup()

    def answer(self, request: httpx.Request, content: bytes) -> concurrent.futures.Future[Any]:
        """The answer to a request, made on the server's loop."""
        if not self._thread.is_alive():
            raise httpx.ConnectError("the test's server has ended", request=request)
        return asyncio.run_coroutine_threadsafe(self._answer(request, content), self._loop)

    async def _answer(self, request: httpx.Request, content: bytes) -> httpx.Response:
        inner = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = [each for each in request.headers.raw if each[0].lower() != b"transfer-encoding"]
        sent = httpx.Request(request.method, request.url, headers=headers, content=content)
        found = await inner.handle_async_request(sent)
        assert isinstance(found.stream, httpx.AsyncByteStream)  # noqa: S101  # of ASGITransport
        body = b"".join([chunk async for chunk in found.stream])
        return httpx.Response(
            found.status_code, headers=found.headers.raw, stream=httpx.ByteStream(body)
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a request: an answer of this status; or, if `lost`, done and not answered."""

    status: int
    lost: bool
    retry_after: float


class Bridge(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport of httpx to a `Server`; the next requests fail by `faults`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.faults: deque[Fault] = deque()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send from a thread."""
        fault = self._fault(request)
        if fault and not fault.lost:
            return _refusal(fault)
        future = self._server.answer(request, request.read())
        try:
            response: httpx.Response = future.result(_patience(request))
        except TimeoutError:
            future.cancel()
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        return _unless_lost(fault, request, response)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send from any event loop."""
        fault = self._fault(request)
        if fault and not fault.lost:
            return _refusal(fault)
        future = asyncio.wrap_future(self._server.answer(request, await request.aread()))
        try:
            response = await asyncio.wait_for(future, _patience(request))
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None
        return _unless_lost(fault, request, response)

    def _fault(self, request: httpx.Request) -> Fault | None:
        if request.url.host != httpx.URL(URL).host:
            text = f"a test of trailseal.testing reaches {URL} only"
            raise httpx.ConnectError(text, request=request)
        try:
            return self.faults.popleft()
        except IndexError:
            return None


def _patience(request: httpx.Request) -> float | None:
    found: float | None = request.extensions.get("timeout", {}).get("read")
    return found


def _unless_lost(
    fault: Fault | None, request: httpx.Request, response: httpx.Response
) -> httpx.Response:
    if fault is not None:
        raise httpx.ReadError("the answer was lost, as the test asked", request=request)
    return response


def _refusal(fault: Fault) -> httpx.Response:
    code = CODES.get(fault.status, "internal_error" if fault.status >= 500 else "request_invalid")
    retryable = fault.status >= 500 or fault.status == 429
    problem = {
        "type": "about:blank",
        "title": code,
        "status": fault.status,
        "code": code,
        "message": "The test asked for this failure.",
        "request_id": "req_failed_by_test",
        "retryable": retryable,
    }
    headers = {"Content-Type": "application/problem+json", "Request-Id": "req_failed_by_test"}
    if retryable:
        headers["Retry-After"] = f"{fault.retry_after:g}"
    body = json.dumps(problem).encode()
    return httpx.Response(fault.status, headers=headers, stream=httpx.ByteStream(body))
