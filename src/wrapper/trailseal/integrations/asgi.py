"""ASGI: FastAPI, Starlette and every other framework of its kind.

    app.add_middleware(AuditMiddleware, trusted_proxies=["10.0.0.0/8"])

Events logged during a request get `context` (`source_ip`, `user_agent`, `request_id`, `trace_id`,
`span_id`) and `actor`; an event's own fields win. See `trailseal.integrations._requests`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from trailseal._events import ActorLike
from trailseal.integrations._requests import (
    REQUEST_ID_HEADER,
    Requests,
    actor_of,
    identify,
    scope,
)

__all__ = ["AuditMiddleware", "identify"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def user_of(scope: Scope) -> ActorLike | None:
    """The user that an authentication middleware left in the scope (Starlette's does)."""
    return actor_of(scope.get("user"))


class AuditMiddleware:
    """Fills what a request knows into the events that are logged during it.

    Args:
        app: The application.
        trusted_proxies: Networks of the proxies before it, whose X-Forwarded-For is believed.
            Leave it empty where the server does that itself (`uvicorn --proxy-headers`).
        request_id_header: Read from the request, and set in the answer.
        user: Finds the actor in a scope when an event needs it; it must not block. Where finding
            it takes an `await`, call `identify(actor)` in the endpoint or its dependency.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        app: App,
        *,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str = REQUEST_ID_HEADER,
        user: Callable[[Scope], ActorLike | None] = user_of,
    ) -> None:
        self._app, self._user = app, user
        self._requests = Requests(trusted_proxies, request_id_header)
        self._name = request_id_header.lower().encode()

    async def __call__(self, given: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if given["type"] not in {"http", "websocket"}:
            return await self._app(given, receive, send)

        def header(name: str) -> str | None:
            wanted = name.encode()
            values = [value for key, value in given["headers"] if key.lower() == wanted]
            return b", ".join(values).decode("latin-1") if values else None

        peer = (given.get("client") or (None,))[0]
        context = self._requests.context(peer, header)

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(key.lower() != self._name for key, _ in headers):
                    headers.append((self._name, context["request_id"].encode()))
                    message = {**message, "headers": headers}
            await send(message)

        with scope(context, lambda: self._user(given)):
            return await self._app(given, receive, answer)
