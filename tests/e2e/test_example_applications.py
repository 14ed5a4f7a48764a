"""The example applications, in processes of their own, with real requests from behind a "proxy"."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trailseal
from trailseal_server.app import Running

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 60
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# The left part of X-Forwarded-For is what a client made up.
HEADERS = {
    "User-Agent": "browser/1",
    "X-Request-ID": "r-17",
    "X-Forwarded-For": "192.0.2.66, 203.0.113.9",
    "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
}
CONTEXT = {
    "source_ip": "203.0.113.9",
    "user_agent": "browser/1",
    "request_id": "r-17",
    "trace_id": TRACE,
    "span_id": "00f067aa0ba902b7",
}
TOKEN = {"Authorization": "Bearer token-of-ada"}


class Application:
    """A running example: its process, and a browser of it."""

    def __init__(self, name: str, *arguments: str) -> None:
        command = [sys.executable, EXAMPLES / name, "0", *arguments]
        self._popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._popen.stdout is not None
        url = self._popen.stdout.readline().strip()
        if not url:
            raise AssertionError(self._popen.communicate()[1])
        self.browser = httpx.Client(base_url=url, headers=HEADERS, timeout=DEADLINE_S)

    def end(self) -> str:
        """Ctrl-C; what it wrote to standard error."""
        self.browser.close()
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGINT)
        errors = self._popen.communicate(timeout=DEADLINE_S)[1]
        assert self._popen.returncode == 0, errors
        return errors


class Place:
    """Starts examples, ends them, and reads what they logged."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._running: list[Application] = []

    def start(self, name: str, *arguments: str) -> Application:
        """Start one."""
        self._running.append(Application(name, *arguments))
        return self._running[-1]

    def end(self) -> None:
        """End all; they deliver what they have accepted."""
        while self._running:
            self._running.pop().end()

    def events(self) -> list[dict[str, Any]]:
        """What arrived, by action."""
        with trailseal.Client(self._server.url, self._server.key) as client:
            found = client.query(order="asc")
            return sorted((dict(event.raw) for event in found), key=lambda each: each["action"])


@pytest.fixture
def place(
    make_server: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A server of its own, and the environment that the examples ask for."""
    server = make_server()
    assert server.key is not None
    monkeypatch.setenv("TRAILSEAL_URL", server.url)
    monkeypatch.setenv("TRAILSEAL_API_KEY", server.key)
    monkeypatch.setenv("TRAILSEAL_SPOOL_DIR", str(tmp_path / "spool"))
    made = Place(server)
    yield made
    made.end()


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    """What the middleware filled in."""
    return event["action"], event.get("actor", {}).get("id"), event["context"]


@pytest.mark.parametrize("name", ["fastapi_app.py", "flask_app.py"])
def test_deletions_are_logged_with_user_address_and_request(place: Place, name: str) -> None:
    """FastAPI on uvicorn, Flask on werkzeug: who, from where, in which request and trace."""
    app = place.start(name)
    done = app.browser.delete("/invoices/17", headers=TOKEN)
    assert (done.status_code, done.headers["x-request-id"]) == (200, "r-17")
    denied = app.browser.delete("/invoices/17")
    assert denied.status_code == 401
    expected = [("access.denied", None, CONTEXT), ("invoice.deleted", "ada", CONTEXT)]
    if name == "flask_app.py":
        assert app.browser.get("/invoices", headers=TOKEN).text == "1718"
        expected += [("invoice.read", "ada", CONTEXT)] * 2
    place.end()
    assert [told(event) for event in place.events()] == expected


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_django_logs_in_its_own_transaction_and_in_the_background(
    place: Place, tmp_path: Path, kind: str
) -> None:
    """Sync and async views, with a user who was looked up, under both kinds of server."""
    app = place.start("django_app.py", str(tmp_path / "shop.db"), kind)
    first = app.browser.delete("/invoices/17", headers={"X-User": "ada"})
    assert (first.status_code, first.headers["x-request-id"]) == (200, "r-17")
    assert app.browser.delete("/invoices/0").status_code == 200  # rolled back
    assert app.browser.get("/invoices/18/content").status_code == 200  # by the session's cookie
    app.browser.cookies.clear()
    anonymous = app.browser.get("/invoices/19/content", headers={"X-Request-ID": "a b"})
    assert anonymous.headers["x-request-id"] != "a b"
    place.end()
    deleted, read, by_nobody = place.events()
    assert told(deleted) == ("invoice.deleted", deleted["actor"]["id"], CONTEXT)
    assert deleted["actor"] == {"id": "1", "type": "user", "name": "ada"}
    assert deleted["id"] == first.json()["event"]
    assert told(read) == ("invoice.read", "1", CONTEXT)
    assert "actor" not in by_nobody
    assert by_nobody["context"]["request_id"] == anonymous.headers["x-request-id"]
