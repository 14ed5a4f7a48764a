"""D1 to D6 of the promises: connections break, servers refuse; nothing is doubled or hammered.

`FAULT_ROUNDS` (300 in the long form) makes them as many as the promises say.
"""

import contextlib
import random
import socket
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from trailseal import Client, _call, errors
from trailseal._flow import Attempt, Request, Response, run
from trailseal._retry import Policy, attempts
from trailseal.hooks import Hooks, RetryInfo

from .conftest import Count
from .loopback import (  # noqa: F401
    SOCKET_S,
    Engine,
    engine,
    loopback,
    losing_answers,
    make_key,
    reply,
    reset,
)
from .servers import rounds

COMMITS = rounds(20, 1000)  # whose answers are lost
UNKNOWN = rounds(20, 200)
REFUSED = rounds(1, 20)  # of each method
STALE = rounds(100, 1000)
OUTAGE = 1000  # calls: quick, because nothing waits
LOST = 0.3  # of the answers
CALLS = 50  # of one client: more would use its budget of retries up (D6), at such a share of faults


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once: how long they wait is D5's."""
    monkeypatch.setattr("trailseal._retry.BACKOFF_BASE", 0.0)


@pytest.mark.row("A-10", "A-11", "P-07")
def test_d1_a_reset_after_the_commit_leaves_one_event(
    engine: Engine,  # noqa: F811
    server: Any,
    log_id: str,
    trials: Count,
) -> None:
    """The id is made before the first try: each event is stored once, and its call succeeds."""
    logged: list[str] = []
    calls = 0
    with loopback(losing_answers(server.url, LOST)) as proxy:
        while len(proxy.requests) - calls < COMMITS:
            client = engine.client(proxy.url, server.key, max_retries=20)
            logged += [engine(client.log("d1", log_id=log_id)).event_id for _ in range(CALLS)]
            bulk = engine(client.log_bulk([{"action": "d1"} for _ in range(50)], log_id=log_id))
            logged += [item.id for item in bulk]
            calls += CALLS + 1
    trials(len(proxy.requests) - calls)
    with Client(server.url, server.key) as direct:
        stored = [event.id for event in direct.query(log_id=log_id, limit=1000)]
    assert sorted(stored) == sorted(logged)


@pytest.mark.row("A-10")
def test_d2_what_may_have_been_done_is_not_done_again(
    engine: Engine,  # noqa: F811
    trials: Count,
) -> None:
    """A creating call without id or key is sent once; the error says so: outcome unknown."""

    def break_off(connection: socket.socket, _request: bytes, number: int) -> bool:
        if number % 2:
            reset(connection)
        return False  # else a clean end, without an answer

    kwargs = {"method": "POST", "url": "/v1/logs", "json": {"log_id": "a"}}
    with loopback(break_off) as server:
        client = engine.client(server.url)
        for made in range(1, UNKNOWN + 1):
            with pytest.raises(errors.ReadError) as caught:
                engine(client._run(_call.call(client._settings, kwargs)))
            assert (caught.value.code, caught.value.attempts) == ("outcome_unknown", 1)
            assert len(server.requests) == made
    trials(UNKNOWN)


@pytest.mark.row("A-11")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_d3_a_refused_connection_is_tried_again_for_any_method(
    engine: Engine,  # noqa: F811
    method: str,
    trials: Count,
) -> None:
    """Nothing was sent: also a creating call without a key goes on when the server is back."""
    for _ in range(REFUSED):
        assert b"Retry-Attempt: 1\r\n" in refused_at_first(engine, method)
    trials(REFUSED)


def refused_at_first(engine: Engine, method: str) -> bytes:  # noqa: F811
    """The request that reaches a server which is there from the first retry on."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    served: list[bytes] = []
    threads: list[threading.Thread] = []

    def come_back(_: RetryInfo) -> None:
        listener = socket.create_server(("127.0.0.1", port))
        threads.append(threading.Thread(target=serve, args=(listener,)))
        threads[0].start()

    def serve(listener: socket.socket) -> None:
        with listener:
            listener.settimeout(SOCKET_S)
            connection, _ = listener.accept()
            with connection:
                served.append(connection.recv(65_536))
                connection.sendall(reply())

    client = engine.client(f"http://127.0.0.1:{port}", hooks=Hooks(on_retry=come_back))
    kwargs = {"method": method, "url": "/v1/logs", "json": {"log_id": "a"}}
    assert engine(client._run(_call.call(client._settings, kwargs))).status == 200
    threads[0].join()
    return served[0]


@pytest.mark.row("P-07")
def test_d4_a_stale_connection_is_invisible(engine: Engine, trials: Count) -> None:  # noqa: F811
    """A server that drops idle connections, before or after the next request, costs no call."""
    chance = random.Random(4)  # noqa: S311  # the same each time
    dropped = 0

    def drop(connection: socket.socket, _request: bytes, number: int) -> bool:
        if number % 5 == 4:  # it had been kept, and goes away with the request
            reset(connection)
            return False
        connection.sendall(reply())
        time.sleep(chance.random() / 1000)
        return number % 5 in {1, 3}

    with loopback(drop) as server:
        while dropped < STALE:
            client = engine.client(server.url, max_retries=10)
            assert [engine(client.log("d4")).index for _ in range(CALLS)] == [0] * CALLS
            dropped = len(server.requests) * 3 // 5
    trials(dropped)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.row("P-07")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("60", 60.0),
        ("61", None),
        ("9" * 400, None),
        (format_datetime(NOW.replace(second=30), usegmt=True), 30.0),
        (format_datetime(NOW.replace(hour=2), usegmt=True), None),
        (format_datetime(NOW.replace(year=2020), usegmt=True), 0.0),
        ("-5", 0.1),
        ("soon", 0.1),
        ("", 0.1),
        ("1e3", 0.1),
        ("Fri, 99 Foo 2026 99:99:99 GMT", 0.1),
    ],
)
def test_d5_retry_after_is_kept_up_to_its_cap(
    status: int,
    value: str,
    wait: float | None,
    monkeypatch: pytest.MonkeyPatch,
    trials: Count,
) -> None:
    """Seconds or a date, exactly; above 60 s it raises at once; garbage means our own backoff."""
    monkeypatch.setattr("trailseal._retry.BACKOFF_BASE", 0.2)
    monkeypatch.setattr("trailseal.errors._answers._now", lambda: NOW)
    clock = [1000.0]
    sent: list[float] = []

    def send(_attempt: Attempt, _left: float) -> Response:
        sent.append(clock[0])
        return Response(status, {"retry-after": value}) if len(sent) == 1 else Response(200)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    flow = attempts(Request("POST", "/e"), Policy(3, jitter=lambda: 0.5))
    too_long = pytest.raises(errors.ApiError, match="The server asks to wait")
    with contextlib.nullcontext() if wait is not None else too_long:
        run(flow, send, timeout=100, clock=lambda: clock[0], sleep=sleep)
    assert sent == ([1000.0] if wait is None else [1000.0, 1000.0 + wait])
    trials(1)


@pytest.mark.row("A-10", "P-07")
def test_d6_an_outage_is_not_made_worse(engine: Engine, trials: Count) -> None:  # noqa: F811
    """1,000 calls of one client make at most 1,100 requests; the options of a client share it."""

    def refuse(connection: socket.socket, _request: bytes, _number: int) -> None:
        connection.sendall(reply(b"{}", 503))

    with loopback(refuse) as server:
        client = engine.client(server.url)
        other = client.with_options(max_retries=5)
        for number in range(OUTAGE):
            with pytest.raises(errors.UnavailableError):
                engine((other if number % 2 else client).log("d6"))
    assert OUTAGE < len(server.requests) <= OUTAGE * 1.1
    trials(OUTAGE)


def test_d6_the_budget_comes_back_with_successes() -> None:
    """An outage that has ended is no handicap for ever: ten successes pay for one retry."""
    down = threading.Event()
    down.set()

    def behave(connection: socket.socket, _request: bytes, _number: int) -> None:
        connection.sendall(reply(b"{}", 503) if down.is_set() else reply())

    with loopback(behave) as server, Client(server.url, make_key()) as client:
        for _ in range(60):
            with contextlib.suppress(errors.UnavailableError):
                client.log("d6")
        down.clear()
        for _ in range(11):
            client.log("d6")
        down.set()
        before = len(server.requests)
        with pytest.raises(errors.UnavailableError):
            client.log("d6")
    assert len(server.requests) - before == 2
