"""Flask with Flask-Login: who deleted which invoice, from where, in which request.

export TRAILSEAL_URL=… TRAILSEAL_API_KEY=… TRAILSEAL_SPOOL_DIR=/var/tmp/audit
python examples/flask_app.py 8000
curl -X DELETE -H 'Authorization: Bearer token-of-ada' http://127.0.0.1:8000/invoices/17
"""

import sys
from collections.abc import Iterator
from contextlib import suppress

import trailseal
from flask import Flask, Request, Response, stream_with_context
from flask_login import (  # type: ignore[import-untyped]  # it has no types
    LoginManager,
    UserMixin,
    login_required,
)
from trailseal.integrations.flask import init_app
from werkzeug.serving import make_server

TOKENS = {"Bearer token-of-ada": "ada"}

app = Flask(__name__)
audit = trailseal.Audit(trailseal.Client.from_env())
login = LoginManager(app)
init_app(app, trusted_proxies=["127.0.0.0/8"])


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """A user of the shop."""

    def __init__(self, name: str) -> None:
        self.id = name


@login.request_loader  # type: ignore[untyped-decorator]  # the same
def load(request: Request) -> User | None:
    """The user of a request, looked up by Flask-Login when somebody asks."""
    name = TOKENS.get(request.headers.get("Authorization", ""))
    return User(name) if name else None


@login.unauthorized_handler  # type: ignore[untyped-decorator]  # the same
def denied() -> tuple[str, int]:
    """Nobody has logged in."""
    audit.log("access.denied", outcome="failure")
    return "", 401


@app.delete("/invoices/<number>")
@login_required  # type: ignore[untyped-decorator]  # the same
def delete_invoice(number: str) -> dict[str, str]:
    """Delete one."""
    receipt = audit.log("invoice.deleted", resource=("invoice", number))
    return {"event": receipt.event_id}


@app.get("/invoices")
@login_required  # type: ignore[untyped-decorator]  # the same
def list_invoices() -> Response:
    """An answer that is made piece by piece, and still belongs to its request."""

    def pieces() -> Iterator[str]:
        for number in ("17", "18"):
            audit.log("invoice.read", resource=("invoice", number))
            yield number

    return Response(stream_with_context(pieces()))


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)  # noqa: T201  # where it is
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    audit.close()
