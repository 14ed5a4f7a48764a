"""The ASGI middleware around Starlette's own parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route
from trailseal.integrations.asgi import AuditMiddleware, identify
from trailseal.integrations.sinks import FileSink


class ByHeader(AuthenticationBackend):
    """Believes what it is told."""

    async def authenticate(self, conn: Any) -> Any:
        name = conn.headers.get("x-user")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


async def pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


AUDIT = Middleware(AuditMiddleware, trusted_proxies=["203.0.113.0/24"])
LOGIN = Middleware(AuthenticationMiddleware, backend=ByHeader())
BETWEEN = Middleware(BaseHTTPMiddleware, dispatch=pass_on)  # runs what is below in another task


@pytest.mark.parametrize(
    "middleware", [[AUDIT, LOGIN], [LOGIN, AUDIT], [AUDIT, BETWEEN, LOGIN], [AUDIT, LOGIN, BETWEEN]]
)
def test_the_user_of_the_framework_is_the_actor_wherever_the_middleware_stands(
    middleware: list[Middleware], tmp_path: Path
) -> None:
    """In the endpoint, in threads and tasks, while the answer is streamed, and in work after it."""
    sink = FileSink(tmp_path / "audit.jsonl")

    async def pieces() -> AsyncIterator[bytes]:
        sink.log("streamed")
        yield b"x"

    async def endpoint(request: Any) -> Any:
        if "x-known" in request.headers:
            identify(request.headers["x-known"])
        sink.log("direct")
        await asyncio.to_thread(sink.log, "thread")
        task = asyncio.create_task(asyncio.to_thread(sink.log, "task"))
        await task
        return StreamingResponse(pieces(), background=BackgroundTask(sink.log, "after"))

    app = Starlette(routes=[Route("/", endpoint)], middleware=middleware)

    async def browse() -> None:
        transport = httpx.ASGITransport(app, client=("203.0.113.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as browser:
            given = {"x-request-id": "r", "x-forwarded-for": "192.0.2.1"}
            for more in ({"x-user": "ada"}, {}, {"x-known": "grace"}):
                answer = await browser.get("/", headers={**given, **more})
                assert (answer.content, answer.headers["x-request-id"]) == (b"x", "r")

    asyncio.run(browse())
    events = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
    found = [(each["action"], each.get("actor", {}).get("id")) for each in events]
    actions = ("direct", "thread", "task", "streamed", "after")
    assert found == [(action, who) for who in ("ada", None, "grace") for action in actions]
    assert all(each["context"]["source_ip"] == "192.0.2.1" for each in events)
    assert all(each["context"]["request_id"] == "r" for each in events)


def test_what_is_no_request_passes_by(tmp_path: Path) -> None:
    """A lifespan has no headers."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    asyncio.run(AuditMiddleware(app)({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
