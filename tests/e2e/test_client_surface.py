"""The rest of both clients against a real server: bulk, uploads, schemas, context, waiters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trailseal
from trailseal import errors

from .conftest import Side

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "number"}},
}


def deeds(count: int) -> Any:
    return ({"id": f"deed-{i}", "action": "a.b", "data": i} for i in range(count))


@pytest.mark.row("A-05", "C-02", "P-29")
def test_batches_beside_each_other_are_all_logged_once(side: Side, log_id: str) -> None:
    """Results in input order, whatever the order in the log."""
    result = side("log_bulk", deeds(3500), concurrency=4, log_id=log_id)
    assert [item.id for item in result] == [f"deed-{i}" for i in range(3500)]
    assert sorted(receipt.index for receipt in result.receipts) == list(range(3500))
    again = side.listed(side.client.log_bulk_iter(deeds(1200), log_id=log_id))
    assert {item.status for item in again} == {"duplicate"}


@pytest.mark.row("A-08", "P-11", "P-30")
def test_events_are_logged_later_by_operations(side: Side, log_id: str) -> None:
    """A batch and an upload; what a real server refuses is in the result."""
    operation = side("log_bulk_async", deeds(3), log_id=log_id)
    assert len(side("wait", operation, timeout=60).created) == 3
    mixed = [
        *deeds(4),
        {"id": "bad", "action": "x", "schema": {"id": "no", "version": "1"}, "data": 1},
    ]
    for compression in ("none", "gzip"):
        uploaded = side("upload", mixed, compression=compression, log_id=log_id)
        result = side("wait", uploaded.id, timeout=60)
        new = 1 if compression == "none" else 0
        assert (result.counts["created"], result.counts["duplicate"]) == (new, 4 - new)
        assert [item.id for item in result.failed] == ["bad"]
    assert len(side.listed(side.client.query(log_id=log_id))) == 4


def test_a_vendors_payload_is_logged(side: Side, log_id: str) -> None:
    """GitHub's, once, though it comes twice."""
    payload = {"action": "opened", "sender": {"login": "ada", "id": 1}, "repository": {"id": 2}}
    first = side("log_stream", "generic", {"id": "r1", "action": "x.y"}, log_id=log_id)
    assert len(first.created) == 1
    assert len(side("log_stream", "github", payload, log_id=log_id).created) == 1
    with pytest.raises(errors.TrailSealError):
        side("log_stream", "unknown", payload, log_id=log_id)


@pytest.mark.row("J-09", "J-10", "J-11", "J-12")
def test_schemas_are_registered_and_kept_to(side: Side, log_id: str) -> None:
    """Both versions are there; data that does not follow is refused and not logged."""
    name = f"invoice-{log_id}"
    for version in ("1", "2"):
        made = side.settle(side.client.schemas.register(SCHEMA, schema_id=name, version=version))
        assert made.version == version
    with pytest.raises(errors.SchemaConflictError):
        side.settle(side.client.schemas.register({"type": "string"}, schema_id=name, version="2"))
    assert side.settle(side.client.schemas.get(name)).version == "2"
    assert len(side.settle(side.client.schemas.list(name))) == 2
    assert side.settle(side.client.schemas.validate({"type": "nonsense"}))
    receipt = side("emit", name, {"amount": 1}, log_id=log_id)
    stored = side("get", receipt.event_id, log_id=log_id)
    assert stored.raw["schema"] == {"id": name, "version": "2"}
    with pytest.raises(errors.EventValidationError):
        side("emit", name, {"amount": "much"}, log_id=log_id)
    with pytest.raises(errors.SchemaNotRegisteredError):
        side("emit", f"{name}-x", {}, log_id=log_id)
    assert len(side.listed(side.client.query(log_id=log_id))) == 1


@pytest.mark.row("L-15")
def test_usage_counts(side: Side, log_id: str) -> None:
    """What was logged this month."""
    before = side("usage").events_this_month
    side("log_bulk", deeds(5), log_id=log_id)
    assert side("usage").events_this_month >= before + 5


def test_bound_fields_and_contexts_are_stored(side: Side, log_id: str) -> None:
    """As if each call had named them."""
    bound = side.client.bind(actor=("user_1"), source={"name": "billing"})
    with trailseal.context(context={"request_id": "r-1"}):
        receipt = side("log", "a.b", client=bound, log_id=log_id)
    stored = side("get", receipt.event_id, log_id=log_id).raw
    assert (stored["actor"]["id"], stored["source"]["name"]) == ("user_1", "billing")
    assert stored["context"] == {"request_id": "r-1"}


def test_a_waiter_sees_the_seal(side: Side, log_id: str) -> None:
    """The event comes with a proof that holds."""
    receipt = side("log", "a.b", log_id=log_id)
    waiter = side.client.get_waiter("event_sealed")
    event = side.settle(waiter.wait(receipt.event_id, log_id=log_id, timeout=30))
    side("verify", event)
    pages = side.client.get_paginator("query").paginate(log_id=log_id)
    assert [len(page.items) for page in side.listed(pages)] == [1]


def test_an_operation_that_ended_cannot_be_cancelled_and_says_so(side: Side, log_id: str) -> None:
    """It stays what it is."""
    side("log", "a.b", log_id=log_id)
    operation = side("export", log_id=log_id)
    side("wait", operation, timeout=60)
    assert side("cancel", operation).state == "succeeded"


@pytest.mark.row("P-54")
def test_an_export_is_a_url_as_well(side: Side, log_id: str, tmp_path: Path) -> None:
    """Its content on the own server, which gets the key."""
    side("log", "a.b", log_id=log_id)
    export = side("wait", side("export", log_id=log_id), timeout=60)
    url = f"{side.client._settings.base_url}/v1/exports/{export.id}/content"
    done = side("download_file", url, tmp_path / "x.jsonl", sha256=export.sha256)
    assert done.bytes == export.bytes
    with pytest.raises(errors.ConfigurationError, match="DownloadedFile"):
        side("verify", done)
