"""WSGI: any application of that kind; for Flask and Django see the modules of their names.

    application = AuditMiddleware(application, trusted_proxies=["10.0.0.0/8"])

Events logged during a request, also while its answer is produced piece by piece, get `context`
(`source_ip`, `user_agent`, `request_id`, `trace_id`, `span_id`) and `actor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from typing import Any

from trailseal._events import ActorLike
from trailseal.integrations._requests import REQUEST_ID_HEADER, Requests, begin, identify

__all__ = ["AuditMiddleware", "identify"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


def user_of(environ: Environ) -> ActorLike | None:
    """The user that the server has authenticated, if it has."""
    user: str | None = environ.get("REMOTE_USER") or None
    return user


def header_of(environ: Environ) -> Callable[[str], str | None]:
    """Reads a header of a request by its lower-case name."""
    return lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}")


class AuditMiddleware:
    """Fills what a request knows into the events that are logged during it.

    Args:
        app: The application.
        trusted_proxies: Networks of the proxies before it, whose X-Forwarded-For is believed.
        request_id_header: Read from the request, and set in the answer.
        user: Finds the actor in a request's environment, when an event needs it.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        app: App,
        *,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str = REQUEST_ID_HEADER,
        user: Callable[[Environ], ActorLike | None] = user_of,
    ) -> None:
        self._app, self._user = app, user
        self._requests = Requests(trusted_proxies, request_id_header)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request, in a copy of the context: nothing of it stays with the thread."""
        context = self._requests.context(environ.get("REMOTE_ADDR"), header_of(environ))
        name = self._requests.request_id_header

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if all(key.lower() != name.lower() for key, _ in headers):
                headers = [*headers, (name, context["request_id"])]
            return start_response(status, headers, *rest)

        own = copy_context()
        own.run(begin, context, lambda: self._user(environ))
        body = own.run(self._app, environ, start)
        # Lists (servers look at their length) and files (servers send them) run no code of the
        # application's any more.
        wrapper = environ.get("wsgi.file_wrapper")
        is_file = isinstance(wrapper, type) and isinstance(body, wrapper)
        return body if is_file or isinstance(body, list | tuple) else InContext(own, body)


class InContext:
    """An answer whose pieces are made in the request's context."""

    def __init__(self, context: Context, body: Iterable[Any]) -> None:
        self._context, self._body = context, body
        self._pieces: Iterator[Any] = context.run(iter, body)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        """End the answer, as the server must."""
        if close := getattr(self._body, "close", None):
            self._context.run(close)
