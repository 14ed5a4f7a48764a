"""Flask, with or without Flask-Login.

    init_app(app, trusted_proxies=["10.0.0.0/8"])

Events logged during a request get what `trailseal.integrations.wsgi` says; the actor is
Flask-Login's `current_user`, if the application has a login manager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from flask import Flask

from trailseal._events import ActorLike
from trailseal.integrations._requests import REQUEST_ID_HEADER, actor_of, identify, in_request
from trailseal.integrations.wsgi import AuditMiddleware

__all__ = ["identify", "init_app"]


def init_app(
    app: Flask,
    *,
    trusted_proxies: Iterable[str] = (),
    request_id_header: str = REQUEST_ID_HEADER,
    user: Callable[[], ActorLike | None] | None = None,
) -> None:
    """Fill what a request knows into the events that are logged during it.

    Args:
        app: The application.
        trusted_proxies: Networks of the proxies before it, whose X-Forwarded-For is believed.
            Leave it empty below werkzeug's `ProxyFix`.
        request_id_header: Read from the request, and set in the answer.
        user: Finds the actor, in the request's context, when an event needs it.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    inner: Any = app.wsgi_app
    wrapped = AuditMiddleware(
        inner, trusted_proxies=trusted_proxies, request_id_header=request_id_header
    )
    app.wsgi_app = wrapped  # type: ignore[method-assign]  # as Flask's documentation says
    lookup = user or (lambda: user_of(app))

    @app.before_request
    def _know_the_user() -> None:
        if in_request():  # and not in `app.test_request_context`
            identify(lookup)


def user_of(app: Flask) -> ActorLike | None:
    """Flask-Login's user."""
    if not hasattr(app, "login_manager"):
        return None
    current_user: Any = import_module("flask_login").current_user
    return actor_of(current_user._get_current_object())  # noqa: SLF001  # werkzeug's public way
