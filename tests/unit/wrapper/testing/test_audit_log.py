"""`trailseal.testing`: the real server in the test's process, and what it says was logged."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
import trailseal
from trailseal.errors import (
    ConfigurationError,
    ConnectError,
    QuotaExceededError,
    ReadError,
    UnavailableError,
)
from trailseal.testing import AuditLog


def message(error: pytest.ExceptionInfo[AssertionError]) -> list[str]:
    return str(error.value).splitlines()


@pytest.mark.row("J-26", "C-16")
def test_clients_made_from_the_environment_reach_the_tests_server(audit_log: AuditLog) -> None:
    """No address, no key, no port: the application's own code is tested as it is."""
    with trailseal.Client() as client:
        client.log("invoice.deleted", actor="user_1", resource=("invoice", "inv_1"), data={"n": 5})
    event = audit_log.assert_logged(
        "invoice.deleted", actor="user_1", resource=("invoice", "inv_1")
    )
    assert event.data == {"n": 5}
    audit_log.assert_nothing_else()


@pytest.mark.row("J-26")
def test_all_ways_of_logging_are_seen_in_all_logs() -> None:
    """Blocking, asynchronous and background clients, of several tenants, outside pytest too."""

    async def log_async(log: AuditLog) -> None:
        async with log.async_client() as client:
            await client.log("b", tenant_id="t1")

    with AuditLog() as log:
        log.client.log("a")
        asyncio.run(log_async(log))
        log.audit().log("c", tenant_id="t2")
        log.audit(delivery="background").log("d")
        assert sorted(event.action for event in log.events) == ["a", "b", "c", "d"]
        assert [event.action for event in log.take()] != []
        assert log.take() == []
        log.client.log("e")
        assert [event.action for event in log.take()] == ["e"]
        log.assert_nothing_else()


async def test_a_test_in_an_event_loop_asks_as_any_other(audit_log: AuditLog) -> None:
    """The server has a loop of its own: what looks at events may block the test's."""
    async with trailseal.AsyncClient() as client:
        await asyncio.gather(*(client.log("a") for _ in range(20)))
        audit_log.audit().log("b")
        audit_log.assert_logged("b")
        assert [event.action for event in audit_log.take()] == ["a"] * 20


def test_each_log_begins_empty_and_knows_nothing_of_others(audit_log: AuditLog) -> None:
    """Two servers in one process keep apart."""
    audit_log.client.log("here")
    with AuditLog() as other:
        assert other.events == []
        assert other.key != audit_log.key
        with pytest.raises(AssertionError, match="no event was logged at all"):
            other.assert_logged("here")


@pytest.mark.parametrize(
    "partial",
    [
        {"actor": {"id": "user_1"}, "data": {"a": {"b": [1, {"c": 2}]}}},
        {"actor": trailseal.Actor("user_1", type="user")},
        {"data": ANY, "outcome": "success", "tags": {"x": "y"}},
        {"resource": "inv_1"},
        {"resource": trailseal.Resource("inv_1")},
        {"resources": [("invoice", "inv_1"), {"id": "inv_2"}]},
        {"message": re.compile("^hel+o")},
        {"occurred_at": datetime(2026, 1, 2, tzinfo=UTC), "log_id": "main"},
    ],
    ids=str,
)
def test_what_is_asked_for_may_be_partial(shared: AuditLog, partial: dict[str, Any]) -> None:
    """Members that are not named may be anything; forms are those of `log`."""
    shared.assert_not_logged("other", **partial)
    with pytest.raises(AssertionError, match="should not be there"):
        shared.assert_not_logged(**partial)


@pytest.fixture(scope="module")
def shared() -> Any:
    with AuditLog() as log:
        log.client.log(
            "invoice.deleted",
            actor=trailseal.Actor("user_1", type="user"),
            resources=[("invoice", "inv_1", "First"), "inv_2"],
            data={"a": {"b": [1, {"c": 2, "d": 3}]}},
            outcome="success",
            tags={"x": "y", "z": "w"},
            message="hello world",
            occurred_at="2026-01-02T01:00:00+01:00",
        )
        yield log


def test_a_failure_shows_the_nearest_event_and_what_is_different(shared: AuditLog) -> None:
    """A line for each difference with its place, then what else was logged."""
    with pytest.raises(AssertionError) as error:
        shared.assert_logged("invoice.deleted", actor="user_2", data={"a": {"b": [1]}, "e": 1})
    assert message(error) == [
        (
            "no event is action='invoice.deleted', actor={'id': 'user_2'}, "
            "data={'a': {'b': [1]}, 'e': 1}"
        ),
        "the nearest is invoice.deleted by user_1 on invoice inv_1:",
        "  - actor.id: wanted 'user_2', found 'user_1'",
        "  - data.a.b: wanted 1 items, found 2",
        "  - data.e: wanted 1, found nothing",
        "1 logged, and not asserted yet:",
        "  invoice.deleted by user_1 on invoice inv_1",
    ]
    with pytest.raises(AssertionError) as left:
        shared.assert_nothing_else()
    assert message(left)[0] == "1 logged that nothing asserted:"


def test_a_typo_is_no_assertion(shared: AuditLog) -> None:
    """A field that does not exist is refused: it could never be found, or always be absent."""
    with pytest.raises(ConfigurationError, match="actor"):
        shared.assert_not_logged(actr="user_1")


def test_an_event_is_asserted_once(audit_log: AuditLog) -> None:
    """Two events that look alike need two assertions."""
    for _ in range(2):
        audit_log.client.log("same")
    audit_log.assert_logged("same")
    with pytest.raises(AssertionError, match="1 logged"):
        audit_log.assert_nothing_else()
    audit_log.assert_logged("same")
    audit_log.assert_nothing_else()


def test_an_event_may_arrive_within_seconds(audit_log: AuditLog) -> None:
    """For what logs in the background without our Audit."""
    timer = threading.Timer(0.1, audit_log.client.log, ["late"])
    timer.start()
    audit_log.assert_logged("late", within=30)
    timer.join()


@pytest.mark.row("C-16", "P-07")
def test_the_next_requests_fail_as_the_test_asks(audit_log: AuditLog) -> None:
    """Refused and done after the retries; refused for good; done and not answered, exactly once."""
    client = audit_log.client
    audit_log.fail_next(status=503, times=2)
    client.log("a")
    audit_log.fail_next(times=2)
    with pytest.raises(UnavailableError, match="The test asked"):
        client.with_options(max_retries=1).log("b")
    audit_log.fail_next(status=402)
    with pytest.raises(QuotaExceededError):
        client.log("c")
    audit_log.fail_next(lost=True)
    assert client.log("d").replayed
    audit_log.fail_next(lost=True)
    with pytest.raises(ReadError):
        client.with_options(max_retries=0).log("e", id="e-1")
    assert [event.action for event in audit_log.events] == ["a", "d", "e"]


def test_a_background_event_survives_what_the_test_does(audit_log: AuditLog) -> None:
    """The Audit tries again by itself; the assertion waits for it."""
    audit_log.fail_next(times=2)
    audit_log.audit().log("kept")
    audit_log.assert_logged("kept")


def test_the_clock_of_events_stands_still_until_told(audit_log: AuditLog) -> None:
    """`occurred_at` and `received_at`, in the SDK, in the background and in the server."""
    clock = audit_log.freeze("2026-01-02T03:04:05+01:00")
    audit_log.client.log("a")
    clock.tick(60)
    audit_log.audit(delivery="background").log("b")
    first, second = (audit_log.assert_logged(name) for name in "ab")
    assert first.raw["occurred_at"] == first.raw["received_at"] == "2026-01-02T02:04:05.000000Z"
    assert second.raw["occurred_at"] == second.raw["received_at"] == "2026-01-02T02:05:05.000000Z"
    audit_log.freeze(datetime(2030, 1, 1, tzinfo=UTC))
    audit_log.client.log("c")
    audit_log.unfreeze()
    assert audit_log.assert_logged("c").received_at == datetime(2030, 1, 1, tzinfo=UTC)
    for wrong in ("tomorrow", "2026-01-01T00:00:00", datetime(2026, 1, 1)):  # noqa: DTZ001  # the point
        with pytest.raises(ConfigurationError):
            audit_log.freeze(wrong)


def test_time_goes_on_after_the_test() -> None:
    """Nothing of a frozen clock is left behind."""
    with AuditLog() as log:
        log.freeze("2020-01-01T00:00:00Z")
        log.client.log("a")
    with AuditLog() as log:
        log.client.log("b")
        assert log.assert_logged("b").raw["occurred_at"] > "2026"


def test_a_test_reaches_no_other_host(audit_log: AuditLog) -> None:
    """A wrong address in the application is an error, and no request."""
    elsewhere = trailseal.Client("http://example.com", audit_log.key, max_retries=0)
    with elsewhere, pytest.raises(ConnectError):
        elsewhere.log("a")
    mine = httpx.MockTransport(lambda request: httpx.Response(402, json={}))
    with trailseal.Client(http_transport=mine) as client, pytest.raises(QuotaExceededError):
        client.log("a")


def test_a_server_that_ended_says_so() -> None:
    """A client that outlives its test fails at once."""
    with AuditLog() as log:
        client = trailseal.Client(log.url, log.key, http_transport=log.transport, max_retries=0)
    with pytest.raises(ConnectError):
        client.log("a")
    client.close()


def test_without_the_server_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plugin loads without it; only using it fails."""
    monkeypatch.setitem(sys.modules, "trailseal_server.app", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'trailseal\[server\]'"):
        AuditLog()


@pytest.mark.row("J-26")
def test_the_plugin_loads_nothing_before_it_is_used() -> None:
    """pytest imports it in every run of everybody: it must cost nothing."""
    code = (
        "import sys, trailseal.testing.plugin;"
        "print([m for m in ('httpx', 'trailseal_server', 'trailseal_api', 'sqlalchemy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
