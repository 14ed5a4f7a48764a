"""Quotas as the writer checks them: between transactions it looks at all logs of a tenant."""

from pathlib import Path

import pytest
from trailseal_server import quota
from trailseal_server.problems import Problem
from trailseal_server.quota import Quotas
from trailseal_server.store import Store, logs, micros, tenants

from .conftest import Trail

NOW = micros.now()
LIMIT = 3


def transaction(trail: Trail, quotas: Quotas, log_id: str, events: int) -> bool:
    """Append to a log as the writer does; whether its tenant may store at all."""
    with trail.store.write() as connection:
        log = logs.find(connection, log_id, lock=True)
        assert log is not None
        try:
            quotas.check(connection, log, NOW)
        except Problem:
            quotas.settle(trail.store)
            return False
        quotas.add(log, events)
    trail.append(log_id, [{"action": "a"}] * events, NOW)
    quotas.settle(trail.store)
    return True


def limited(trail: Trail) -> None:
    """A tenant with a limit and two logs."""
    with trail.store.write() as connection:
        tenants.create(connection, {"tenant_id": "t", "events_limit": LIMIT})
    for log_id in ("one", "two"):
        trail.log(log_id, "t")


def test_a_quota_is_over_all_logs_and_passed_by_one_transaction_of_each_process_at_most(
    trail: Trail,
) -> None:
    """What is in one log counts for the other from a process's second transaction on."""
    limited(trail)
    first, second = Quotas(), Quotas()
    assert transaction(trail, first, "one", LIMIT)
    assert not transaction(trail, first, "two", 1)
    assert transaction(trail, second, "two", 1)
    assert not transaction(trail, second, "two", 1)


def test_sums_that_cannot_be_read_stay_due_and_are_told(
    trail: Trail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The events are stored whatever happens to their sum; the log says why it lacks."""
    limited(trail)
    quotas = Quotas()
    monkeypatch.setattr(quota, "RETRY_S", -1.0)  # at once
    away = Store.attach(f"sqlite:///{Path(__file__).parent}")  # a folder is no database
    with trail.store.write() as connection:
        log = logs.find(connection, "one", lock=True)
        assert log is not None
        quotas.check(connection, log, NOW)
        quotas.add(log, 1)
    quotas.settle(away)
    assert "the quotas' sums cannot be read" in caplog.text
    trail.append("two", [{"action": "a"}] * LIMIT, NOW)
    assert transaction(trail, quotas, "one", 0)  # read again, with those of the other log
    assert not transaction(trail, quotas, "one", 1)


def test_what_a_transaction_adds_counts_at_once_and_what_was_undone_never(trail: Trail) -> None:
    """Before the sums are read again, and after them."""
    limited(trail)
    quotas = Quotas()
    assert transaction(trail, quotas, "one", 1)
    assert transaction(trail, quotas, "two", 1)  # the sum is not due again: this one is counted
    with trail.store.write() as connection:
        log = logs.find(connection, "one", lock=True)
        assert log is not None
        quotas.check(connection, log, NOW)
        quotas.add(log, LIMIT)
    quotas.undo()
    assert transaction(trail, quotas, "one", 1)
    assert not transaction(trail, quotas, "two", 1)
