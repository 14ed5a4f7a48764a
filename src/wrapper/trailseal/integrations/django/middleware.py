"""Django's middleware, for WSGI and ASGI; its place is after `AuthenticationMiddleware`.

The user is `request.user`, looked up when an event needs it. Under ASGI it is looked up before the
view, if the request has a session: a look-up in the event loop is refused by Django.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from trailseal._events import ActorLike
from trailseal.integrations._requests import (
    REQUEST_ID_HEADER,
    Requests,
    actor_of,
    during,
    scope,
)
from trailseal.integrations.django import _settings


class AuditMiddleware:
    """Fills what a request knows into the events that are logged during it; see `_settings`.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._user = _settings.user()
        self._session: str = settings.SESSION_COOKIE_NAME
        self._requests = Requests(
            _settings.given("TRUSTED_PROXIES", ()),
            _settings.given("REQUEST_ID_HEADER", REQUEST_ID_HEADER),
        )
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Serve a request."""
        if iscoroutinefunction(self):
            return self._serve(request)
        context = self._context(request)
        with scope(context, lambda: self._actor(request)) as fields:
            return self._answered(self._get_response(request), context, fields)

    async def _serve(self, request: Any) -> Any:
        context = self._context(request)
        if self._user is None and self._session in request.COOKIES and hasattr(request, "auser"):
            request.user = await request.auser()  # looked up lazily it would block, and be refused
        with scope(context, lambda: self._actor(request)) as fields:
            response = await self._get_response(request)
            return self._answered(response, context, fields)

    def _context(self, request: Any) -> dict[str, str]:
        return self._requests.context(request.META.get("REMOTE_ADDR"), request.headers.get)

    def _actor(self, request: Any) -> ActorLike | None:
        try:
            return self._look_up(request)
        except SynchronousOnlyOperation:  # an asynchronous view below WSGI; a `USER` of yours
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self._look_up, request, alone=True).result()

    def _look_up(self, request: Any, *, alone: bool = False) -> ActorLike | None:
        try:
            if self._user is not None:
                found: ActorLike | None = self._user(request)
                return found
            return actor_of(getattr(request, "user", None))
        finally:
            if alone:
                connections.close_all()  # of this thread

    def _answered(self, response: Any, context: dict[str, str], fields: dict[str, Any]) -> Any:
        response.headers.setdefault(self._requests.request_id_header, context["request_id"])
        if response.streaming and not hasattr(response, "file_to_stream"):
            pieces = response.streaming_content
            if isinstance(pieces, AsyncIterable):
                response.streaming_content = _awaited(pieces, fields)
            else:
                response.streaming_content = _made(pieces, copy_context())
        return response


def _made(pieces: Iterator[bytes], context: Context) -> Iterator[bytes]:
    """The pieces of an answer, made in the request's context."""
    while (piece := context.run(next, pieces, None)) is not None:
        yield piece


async def _awaited(pieces: AsyncIterable[bytes], fields: dict[str, Any]) -> AsyncIterator[bytes]:
    """The same of an asynchronous answer: its context is that of whoever sends it."""
    iterator = aiter(pieces)
    while True:
        with during(fields):
            try:
                piece = await anext(iterator)
            except StopAsyncIteration:
                return
        yield piece
