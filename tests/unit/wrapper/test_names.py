"""Schemas, usage, paginators and waiters: the names beside logging and reading."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import httpx
import pytest
from trailseal import _boto, errors

from .conftest import Script, Side, answer
from .test_pages import SEARCH, page

SCHEMA = {"$id": "urn:invoice", "version": "2", "type": "object"}
STORED = {
    "schema_key": "sch_1",
    "schema_id": "urn:invoice",
    "version": "2",
    "document": SCHEMA,
    "state": "active",
    "created_at": "2026-01-01T00:00:00Z",
}
RECEIPT = {"event_id": "e", "log_id": "l", "index": 0, "state": "pending", "replayed": False}


def schemas(side: Side, name: str, *args: Any, **options: Any) -> Any:
    return side.settle(getattr(side.client.schemas, name)(*args, **options))


@pytest.mark.row("L-15")
def test_usage(side: Side, script: Script) -> None:
    """Null is no limit."""
    found = {"plan": "free", "period": "2026-11", "events_this_month": 7, "bytes": 9}
    script.steps = [answer(200, {**found, "events_limit": 10, "retention_days": None})]
    usage = side("usage")
    assert (usage.events_this_month, usage.events_limit, usage.retention_days) == (7, 10, None)
    assert script.requests[0].url.path == "/v1/usage"


@pytest.mark.row("J-06", "J-07", "J-17")
def test_a_schema_is_a_mapping_a_text_or_a_path(side: Side, script: Script, tmp_path: Path) -> None:
    """A text that looks like a path is a mistake, not a schema."""
    file = tmp_path / "s.yaml"
    file.write_text("$id: urn:invoice\nversion: '2'\n")
    script.steps = [answer(201, STORED)] * 3
    assert schemas(side, "register", SCHEMA).id == "urn:invoice"
    schemas(side, "register", json.dumps(SCHEMA), version="3", compatibility="none")
    schemas(side, "register", PurePath(file))
    assert script.bodies() == [
        {"document": SCHEMA},
        {"text": json.dumps(SCHEMA), "version": "3", "compatibility": "none"},
        {"text": file.read_text()},
    ]
    for wrong in ("schemas/s.yaml", tmp_path / "missing", 7, "{" + " " * 262_144):
        with pytest.raises(errors.ConfigurationError):
            schemas(side, "register", wrong)
    assert len(script.requests) == 3


@pytest.mark.row("J-09", "J-18")
def test_versions_are_fetched_by_the_schemas_own_id(side: Side, script: Script) -> None:
    """One, the latest, all of one, the latest of all; or an error that says what is missing."""
    empty = {"items": [], "next_cursor": None, "has_more": False}
    script.steps = [
        *[answer(200, {**empty, "items": [STORED]})] * 2,
        answer(200, empty),
        answer(200, {**empty, "items": [STORED], "next_cursor": "1"}),
        answer(200, {**empty, "items": [STORED]}),
    ]
    assert schemas(side, "get", "urn:invoice", "2").document == SCHEMA
    assert schemas(side, "get", "urn:invoice").version == "2"
    with pytest.raises(errors.SchemaNotRegisteredError, match="version"):
        schemas(side, "get", "urn:invoice", "3")
    assert len(schemas(side, "list", latest=True)) == 2
    sent = [dict(request.url.params) for request in script.requests]
    assert sent[0] == {"schema_id": "urn:invoice", "version": "2", "limit": "1"}
    assert sent[1] == {"schema_id": "urn:invoice", "latest": "true", "limit": "1"}
    assert sent[4] == {"latest": "true", "limit": "1000", "cursor": "1"}


@pytest.mark.row("J-25")
def test_a_schema_is_checked_without_being_registered(side: Side, script: Script) -> None:
    """What is wrong with it, or nothing."""
    fault = {"code": "schema_invalid", "pointer": "/type", "detail": "is none"}
    script.steps = [answer(200, {"valid": False, "errors": [fault]}), answer(200, {"errors": []})]
    assert schemas(side, "validate", SCHEMA)[0].pointer == "/type"
    assert schemas(side, "validate", SCHEMA) == ()


@pytest.mark.row("J-10")
def test_emit_logs_data_that_follows_a_schema(side: Side, script: Script) -> None:
    """The version is the latest if none is named; the action is the schema unless named."""
    found = {"items": [STORED], "next_cursor": None}
    script.steps = [answer(200, found), *[answer(201, RECEIPT)] * 2]
    side("emit", "urn:invoice", {"amount": 1}, actor="u")
    side("emit", "urn:invoice", None, version="1", action="invoice.paid")
    first, second = (json.loads(r.content) for r in script.requests if r.method == "POST")
    assert first["schema"] == {"id": "urn:invoice", "version": "2"}
    assert (first["action"], first["data"], first["actor"]) == (
        "urn:invoice",
        {"amount": 1},
        {"id": "u"},
    )
    assert (second["action"], second["schema"]["version"]) == ("invoice.paid", "1")
    with pytest.raises(errors.EventValidationError, match="actr"):
        side("emit", "urn:invoice", {}, version="1", actr="u")


@pytest.mark.row("C-15")
def test_paginators_yield_pages(side: Side, script: Script) -> None:
    """Those of query and of search, from a token on if need be."""
    script.steps = [page("a", cursor="1"), page("b"), page("c"), answer(201, SEARCH), page("d")]
    query = side.client.get_paginator("query")
    assert [len(p.items) for p in side.listed(query.paginate(actor_id="u", limit=1))] == [1, 1]
    assert len(side.listed(query.paginate(starting_token="5"))) == 1
    assert script.requests[2].url.params["cursor"] == "5"
    search = side.client.get_paginator("search")
    assert [p.items[0].id for p in side.listed(search.paginate("q", limit=1))] == ["a", "d"]


@pytest.mark.row("C-15")
def test_unknown_paginators_and_waiters_are_said_so(side: Side) -> None:
    """With the names that there are."""
    assert side.client.can_paginate("query")
    assert not side.client.can_paginate("get")
    with pytest.raises(errors.ConfigurationError, match="query, search"):
        side.client.get_paginator("get")
    with pytest.raises(errors.ConfigurationError, match="event_sealed"):
        side.client.get_waiter("get")


def test_waiters_wait(side: Side, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an operation's result, and for a checkpoint over an event."""
    monkeypatch.setattr(_boto, "SEALED_PAUSE", 0.0)
    operation = {"operation_id": "op_1", "kind": "export", "state": "succeeded"}
    script.steps = [
        answer(200, operation),
        answer(200, {"id": "e", "state": "pending"}),
        answer(200, {"id": "e", "state": "sealed"}),
    ]
    assert side.settle(side.client.get_waiter("operation_succeeded").wait("op_1")).id == "op_1"
    sealed = side.settle(side.client.get_waiter("event_sealed").wait("e", log_id="main"))
    assert sealed.state == "sealed"
    assert script.requests[2].url.params["include"] == "proof"


def test_a_waiter_ends_in_time(side: Side, script: Script) -> None:
    """A log that nobody seals."""
    script.steps = [lambda _: httpx.Response(200, json={"id": "e", "state": "pending"})] * 50
    with pytest.raises(errors.OperationTimeoutError):
        side.settle(side.client.get_waiter("event_sealed").wait("e", timeout=0.3))


@pytest.mark.row("P-10")
def test_an_operation_is_cancelled(side: Side, script: Script) -> None:
    """By itself, its id, or an error about it."""
    cancelled = {"operation_id": "op_1", "kind": "export", "state": "cancelled"}
    script.steps = [answer(200, cancelled)] * 2
    assert side("cancel", "op_1").state == "cancelled"
    error = errors.OperationTimeoutError("x", operation_id="op_1")
    assert side("cancel", error).done
    assert {request.url.path for request in script.requests} == {"/v1/operations/op_1/cancel"}
