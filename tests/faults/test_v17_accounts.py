"""V17, its part in a server's log: an account of a failure holds nothing of an event."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from trailseal_server.failures import account, problem_of
from trailseal_server.store import Store

from .servers import Process

SECRET = "s3cr3t-payload"

FAILING = {
    # PostgreSQL shows the row in DETAIL, and the value in the first line.
    "postgresql": (
        "INSERT INTO meta (name, value) SELECT :value, NULL",
        "SELECT CAST(:value AS integer)",
    ),
    "sqlite": ("INSERT INTO meta (name, value) SELECT :value, NULL",),
}


def test_v17_an_account_of_a_database_error_has_no_value(make_database: Callable[[], str]) -> None:
    """Whatever the database says about a row; the place in our code and the state are kept."""
    store = Store.open(make_database())
    engine = store.engine.dialect.name
    try:
        for statement in FAILING[engine]:
            with pytest.raises(Exception) as failed, store.write() as connection:  # noqa: PT011 - any
                connection.execute(text(statement), {"value": SECRET})
            if engine == "postgresql":
                assert SECRET in str(failed.value)  # it would have been told
            wrapped = KeyError(SECRET)
            wrapped.__cause__ = failed.value
            told = account(wrapped)
            assert SECRET not in told
            assert "in _exec_single_context" in told
            assert "builtins.KeyError" in told
            assert ("SQLSTATE" if engine == "postgresql" else "NOT NULL constraint") in told
            assert problem_of(failed.value).code == "internal_error"
    finally:
        store.close()


def test_v17_a_failed_request_logs_where_and_not_what(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    """A table is gone: the request is 500, its id is in the log, and what was sent is not."""
    url = make_database()
    with Process(url, tmp_path) as server:
        key = server.key or ""
        store = Store.attach(url)
        with store.write() as connection:
            connection.execute(text("DROP TABLE channels"))
        store.close()
        status, answer = server.call(key, "POST", "/v1/channels", {"name": SECRET})
        assert (status, answer["code"]) == (500, "internal_error")
        assert server.end() == 0
    assert f"request {answer['request_id']} failed" in server.errors
    assert "in create_channel" in server.errors
    assert SECRET not in server.errors
