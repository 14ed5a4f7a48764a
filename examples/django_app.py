"""Django in one file, under WSGI or ASGI: events in the application's own transaction.

    export TRAILSEAL_URL=… TRAILSEAL_API_KEY=… TRAILSEAL_SPOOL_DIR=/var/tmp/audit
    python examples/django_app.py 8000 shop.db [asgi]
    curl -X DELETE -H 'X-User: ada' http://127.0.0.1:8000/invoices/17

The proxy before it has authenticated the user, and says so in X-User.
"""

import socket
import sys
from contextlib import suppress
from wsgiref.simple_server import make_server

import django
from django.conf import settings

DATABASE = sys.argv[2] if len(sys.argv) > 2 else "shop.db"
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "trailseal.integrations.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "__main__.ProxyUser",
        "trailseal.integrations.django.AuditMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
    ROOT_URLCONF="__main__",
    SECRET_KEY="an example",  # noqa: S106
    USE_TZ=True,
    TRAILSEAL={"TRUSTED_PROXIES": ["127.0.0.0/8"], "AUDIT": {"delivery": "background"}},
)
django.setup()

from django.contrib.auth.middleware import RemoteUserMiddleware  # noqa: E402  # after setup
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from trailseal.integrations.django import audit, outbox  # noqa: E402


class ProxyUser(RemoteUserMiddleware):
    """Logs in whom the proxy names."""

    header = "X_USER" if sys.argv[3:] == ["asgi"] else "HTTP_X_USER"  # Django adds HTTP_ itself
    force_logout_if_no_header = False


def delete_invoice(_: HttpRequest, number: str) -> HttpResponse:
    """The change and its event are committed together; `manage.py trailseal_relay` sends."""
    with transaction.atomic():
        receipt = outbox.log("invoice.deleted", resource=("invoice", number))
        if number == "0":  # there is none: neither is deleted, nor logged
            transaction.set_rollback(True)
    return JsonResponse({"event": receipt.event_id})


async def read_invoice(_: HttpRequest, number: str) -> HttpResponse:
    """Logged in microseconds, and delivered in the background."""
    receipt = audit().log("invoice.read", resource=("invoice", number))
    return JsonResponse({"event": receipt.event_id})


urlpatterns = [
    path("invoices/<number>", delete_invoice),
    path("invoices/<number>/content", read_invoice),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    with suppress(KeyboardInterrupt):
        if sys.argv[3:] == ["asgi"]:
            import uvicorn

            with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
                port = listener.getsockname()[1]
                print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201  # where it is
                config = uvicorn.Config(
                    get_asgi_application(), proxy_headers=False, log_level="warning", lifespan="off"
                )
                uvicorn.Server(config).run(sockets=[listener])
        else:
            with make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application()) as server:
                print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201  # where it is
                server.serve_forever()
    call_command("trailseal_relay", "--once")
    audit().close()
