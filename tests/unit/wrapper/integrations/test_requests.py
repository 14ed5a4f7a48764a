"""What a web request tells: addresses, ids, traces and users."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trailseal
from trailseal._context import _current
from trailseal._events import prepare
from trailseal.errors import ConfigurationError
from trailseal.integrations._requests import (
    MAX_HOPS,
    Proxies,
    Requests,
    actor_of,
    identify,
    scope,
)
from trailseal.integrations.wsgi import AuditMiddleware

LAN = ("10.0.0.0/8", "::1", "fd00::/8")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # anyone can send the header
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),  # the left part is the client's word
        ("10.0.0.1", "203.0.113.9, 10.2.2.2", "203.0.113.9"),
        ("10.0.0.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),  # a proxy itself has asked
        ("10.0.0.1", "203.0.113.9, unknown, 10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("::1", "2001:DB8:0::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "203.0.113.9", "fe80::1"),
        ("10.0.0.1", ",,", "10.0.0.1"),
        ("testclient", "203.0.113.9", None),
        (None, "203.0.113.9", None),
        ("", "203.0.113.9", None),
    ],
)
def test_an_address_is_taken_from_trusted_proxies_only(
    peer: str | None, forwarded: str | None, client: str | None
) -> None:
    """X-Forwarded-For is read from the right, as far as trusted proxies wrote it."""
    assert Proxies(LAN).client(peer, forwarded) == client


def test_a_peer_without_address_is_trusted_as_unix_only() -> None:
    """A proxy at a Unix socket has no address."""
    assert Proxies(["unix"]).client(None, "203.0.113.9") == "203.0.113.9"
    assert Proxies(["unix"]).client("", "203.0.113.9") == "203.0.113.9"
    assert Proxies(["unix"]).client("garbage", "203.0.113.9") is None


def test_a_header_of_a_million_hops_costs_nothing() -> None:
    """Only the last entries are looked at."""
    hops = "10.0.0.9," * 1_000_000 + "10.0.0.8"
    assert Proxies(LAN).client("10.0.0.1", hops) == "10.0.0.9"
    assert Proxies(LAN).client("10.0.0.1", "203.0.113.9," + "10.0.0.9," * MAX_HOPS) != "203.0.113.9"


@pytest.mark.parametrize("trusted", ["10.0.0.0/8", ["proxy.internal"], ["10.0.0.1/8"], ["*"]])
def test_trusted_proxies_that_are_no_networks_are_refused(trusted: Any) -> None:
    """A mistake must not trust everyone, or nobody, in silence."""
    with pytest.raises(ConfigurationError):
        Proxies(trusted)


def given(**headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Requests().context("203.0.113.9", named.get)


def test_a_request_id_is_taken_over_or_made() -> None:
    """One that could break a log line, a header or an event is replaced."""
    assert given(x_request_id="r-17/a=b")["request_id"] == "r-17/a=b"
    made = {given(x_request_id=bad)["request_id"] for bad in ("", "a b", "x" * 129, "ä", "a\nb")}
    assert len(made) == 5
    assert all(len(each) == 36 for each in made)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"01-{TRACE}-00f067aa0ba902b7-01", True),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        ("garbage", False),
    ],
)
def test_traceparent_is_read_as_w3c_says(header: str, found: bool) -> None:
    """Trace and span are there, or both are not."""
    context = given(traceparent=header)
    assert (context.get("trace_id"), context.get("span_id")) == (
        (TRACE, "00f067aa0ba902b7") if found else (None, None)
    )


def test_what_is_told_is_always_a_valid_context() -> None:
    """Whatever the headers hold, the event is valid."""
    hostile = {"user-agent": "ü\x7f" * 2000, "x-request-id": "\x00", "x-forwarded-for": "\x00"}
    context = Requests(LAN).context("10.0.0.1", hostile.get)
    assert prepare({"action": "a.b", "context": context}).id


class User:
    """As frameworks have them."""

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)

    @property
    def identity(self) -> str:
        raise NotImplementedError  # as Starlette's


@pytest.mark.parametrize(
    ("user", "actor"),
    [
        (None, None),
        ("u1", "u1"),
        ({"id": "u1"}, {"id": "u1"}),
        (User(is_authenticated=False, pk=None), None),
        (User(username="u1"), None),
        (User(is_authenticated=True, pk=7), {"id": "7", "type": "user"}),
        (
            User(is_authenticated=True, pk=7, get_username=lambda: "eva"),
            {"id": "7", "type": "user", "name": "eva"},
        ),
        (User(is_authenticated=True, get_id=lambda: "u1"), {"id": "u1", "type": "user"}),
        (User(is_authenticated=True, username="u1"), {"id": "u1", "type": "user"}),
        (User(is_authenticated=True), None),
    ],
)
def test_users_of_frameworks_are_actors(user: Any, actor: Any) -> None:
    """Nobody who is not logged in is one."""
    assert actor_of(user) == actor


def actor_now() -> Any:
    from trailseal._context import filled  # noqa: PLC0415

    return filled({"action": "a.b"}, {}).get("actor")


def test_the_user_is_looked_up_when_an_event_needs_it() -> None:
    """A request that logs nothing costs no look-up; an event's own actor needs none."""
    from trailseal._context import filled  # noqa: PLC0415

    asked: list[int] = []

    def user() -> str:
        asked.append(1)
        return "u1"

    with scope({"request_id": "r"}, user):
        assert filled({"action": "a.b", "actor": "own"}, {})["actor"] == "own"
        assert not asked
        assert actor_now() == "u1"
        with trailseal.context(tags={"a": "b"}):
            assert actor_now() == "u1"
        with trailseal.context(actor="inner"):
            assert actor_now() == "inner"
        identify("u2")
        assert actor_now() == "u2"
        identify(lambda: {"id": "u3"})
        assert actor_now() == {"id": "u3"}
    assert not _current.get()


def test_a_lookup_that_fails_leaves_the_actor_out(caplog: pytest.LogCaptureFixture) -> None:
    """The event matters more; what the failure says, which may be personal, is not logged."""

    def user() -> str:
        raise LookupError("secret")

    with caplog.at_level(logging.WARNING, "trailseal"), scope({}, user):
        assert actor_now() is None
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_identify_needs_a_request() -> None:
    """Named in vain, a user would be missing from the log in silence."""
    with pytest.raises(ConfigurationError):
        identify("u1")


def test_nothing_of_a_wsgi_request_stays_with_the_thread_and_pieces_see_it() -> None:
    """An answer made piece by piece is made in its request's context; lists stay lists."""
    seen: list[Any] = []
    closed: list[int] = []

    class Pieces:
        def __iter__(self) -> Any:
            seen.append(_current.get().get("context"))
            yield b"a"
            seen.append(_current.get().get("context"))
            yield b"b"

        def close(self) -> None:
            closed.append(1)
            seen.append(_current.get().get("context"))

    def app(environ: Any, start: Any) -> Any:
        start("200 OK", [("X-Request-ID", "own")] if environ.get("own") else [])
        return [b"list"] if environ.get("own") else Pieces()

    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        started.append(headers)

    served = AuditMiddleware(app)
    environ = {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_REQUEST_ID": "r-1"}
    body: Any = served(environ, start_response)
    assert not _current.get()
    assert list(body) == [b"a", b"b"]
    body.close()
    assert seen == [{"request_id": "r-1", "source_ip": "203.0.113.9"}] * 3
    assert closed == [1]
    assert served({**environ, "own": True}, start_response) == [b"list"]
    assert started == [[("X-Request-ID", "r-1")], [("X-Request-ID", "own")]]
