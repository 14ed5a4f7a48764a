"""Many events: beside each other, in flat memory, later, as a file, or as a vendor has them."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from trailseal import AsyncClient, Client, _batches, errors

from .conftest import Script, Side, answer, make_key


def accept(request: httpx.Request) -> httpx.Response:
    """A server that takes every event."""
    events = json.loads(request.content)["events"]
    results = [{"position": i, "id": e["id"], "status": "created"} for i, e in enumerate(events)]
    return answer(200, {"results": results})


def events(count: int) -> Iterator[dict[str, Any]]:
    return ({"id": f"e{i}", "action": "a"} for i in range(count))


def test_batches_travel_beside_each_other_and_results_stay_in_order() -> None:
    """Two requests meet at the server; the one that was answered first came second."""
    meet = threading.Barrier(2, timeout=10)

    def respond(request: httpx.Request) -> httpx.Response:
        meet.wait()
        return accept(request)

    with Client("http://x", make_key(), http_transport=httpx.MockTransport(respond)) as client:
        result = client.log_bulk(events(4000), concurrency=2)
    assert [item.id for item in result] == [f"e{i}" for i in range(4000)]


async def test_batches_travel_beside_each_other_on_asyncio() -> None:
    """As many as asked for, no more."""
    import asyncio  # noqa: PLC0415  # only here

    now = most = 0

    async def respond(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return accept(request)

    transport = httpx.MockTransport(respond)
    async with AsyncClient("http://x", make_key(), http_transport=transport) as client:
        result = await client.log_bulk(events(9500), concurrency=3)
    assert [item.id for item in result] == [f"e{i}" for i in range(9500)]
    assert most == 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_error_keeps_what_was_logged_and_sends_no_more(
    side: Side, script: Script, concurrency: int
) -> None:
    """Batches that were under way count too."""

    def respond(request: httpx.Request) -> httpx.Response:
        refused = json.loads(request.content)["events"][0]["id"] == "e2000"
        return answer(403, {"code": "permission_denied"}) if refused else accept(request)

    script.steps = [respond] * 50
    with pytest.raises(errors.PermissionDeniedError) as caught:
        side("log_bulk", events(50_000), concurrency=concurrency)
    logged = [item.id for item in caught.value.result]
    assert logged[:2000] == [f"e{i}" for i in range(2000)]
    assert len(logged) == 1000 * (len(script.requests) - 1)
    assert len(script.requests) <= 3 + 2 * concurrency


@pytest.mark.parametrize("concurrency", [0, 33, "2"])
def test_a_concurrency_that_cannot_be_is_refused(side: Side, concurrency: Any) -> None:
    """1 to 32."""
    with pytest.raises(errors.ConfigurationError, match="concurrency"):
        side("log_bulk", events(1), concurrency=concurrency)


@pytest.mark.row("C-02", "P-29")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_memory_is_flat_however_many_events(
    concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times as many events, which together are far above it, need the same memory."""
    monkeypatch.setattr(_batches, "MAX_EVENTS", 10)  # smaller batches show the same in less time
    text = "x" * 10_000

    def peak(count: int) -> int:
        with Client("http://x", make_key(), http_transport=httpx.MockTransport(accept)) as client:
            given = ({"action": "a", "message": f"{i}{text}"} for i in range(count))
            tracemalloc.start()
            seen = sum(1 for _ in client.log_bulk_iter(given, concurrency=concurrency))
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert seen == count
        return found

    _, few, many = (peak(count) for count in (200, 800, 2400))  # the first loads modules
    assert many < few + 5_000_000 < 2400 * len(text)


def test_results_can_be_taken_one_by_one(side: Side, script: Script) -> None:
    """Failed events at their places, as in a whole result."""
    script.steps = [accept, accept]
    mixed = [*events(1500), {"action": ""}]
    items = side.listed(side.client.log_bulk_iter(mixed))
    assert [item.position for item in items] == list(range(1501))
    assert (items[-1].status, items[-1].error.code) == ("failed", "field_required")


@pytest.mark.row("P-30")
def test_events_are_handed_over_to_be_logged_later(side: Side, script: Script) -> None:
    """One request with a key of its own, answered by an operation."""
    operation = {"operation_id": "op_1", "kind": "batch", "state": "pending"}
    script.steps = [answer(202, operation)]
    made = side("log_bulk_async", events(3), log_id="main", channel="c")
    assert (made.id, made.done) == ("op_1", False)
    request = script.requests[0]
    assert request.url.path == "/v1/events/batch/async"
    assert request.headers["idempotency-key"]
    body = script.bodies()[0]
    assert ([e["id"] for e in body["events"]], body["channel"]) == (["e0", "e1", "e2"], "c")


@pytest.mark.row("A-07", "P-30")
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([], errors.EmptyBatchError),
        ([{"action": ""}], errors.EventValidationError),
        ([{"action": "a"}] * 1001, errors.BatchTooLargeError),
        ({"action": "a"}, errors.ConfigurationError),
    ],
)
def test_what_cannot_be_handed_over_is_refused_before_any_io(
    side: Side, script: Script, given: Any, kind: type
) -> None:
    """Later there would be nobody to tell."""
    with pytest.raises(kind):
        side("log_bulk_async", given)
    if kind is not errors.BatchTooLargeError:
        with pytest.raises(kind):
            side("upload", given)
    assert script.requests == []


def test_a_vendors_payload_travels_as_it_is(side: Side, script: Script) -> None:
    """Bytes are not read, values are written as JSON; `source` stands in the path."""
    script.steps = [answer(200, {"results": [{"position": 0, "status": "created"}]})] * 2
    raw = b'{"b": 1.0,  "a": null}'
    result = side("log_stream", "github", raw, log_id="main")
    assert (len(result.created), script.requests[0].content) == (1, raw)
    assert script.requests[0].url.path == "/v1/ingest/github"
    side("log_stream", "generic", {"a": [1]}, external_id="x")
    assert script.bodies()[1] == {"a": [1]}
    with pytest.raises(errors.ConfigurationError, match="JSON"):
        side("log_stream", "generic", {"a": object()})


def uploads(script: Script, *contents: httpx.Response) -> None:
    made = {"upload_id": "up_1", "token": "secret"}
    operation = {"operation_id": "op_1", "kind": "upload", "state": "pending"}
    script.steps = []
    for content in contents:
        script.steps += [answer(201, made), content]
    script.steps.append(answer(202, operation))


@pytest.mark.row("A-08")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_upload_is_begun_streamed_and_completed(
    side: Side, script: Script, compression: str
) -> None:
    """Its size is announced, its digest is that of the bytes; each event has an id."""
    uploads(script, answer(200))
    made = side("upload", ({"action": "a", "data": i} for i in range(3)), compression=compression)
    assert made.id == "op_1"
    begun, content, done = script.requests
    sent = content.read()
    assert content.method == "PUT"
    assert content.headers["content-length"] == str(len(sent))
    assert "transfer-encoding" not in content.headers
    plain = gzip.decompress(sent) if compression == "gzip" else sent
    lines = [json.loads(line) for line in plain.splitlines()]
    assert [line["data"] for line in lines] == [0, 1, 2]
    assert len({line["id"] for line in lines}) == 3
    assert json.loads(begun.content) == {"compression": compression, "bytes": len(sent)}
    import hashlib  # noqa: PLC0415  # only here

    assert json.loads(done.content) == {"sha256": hashlib.sha256(sent).hexdigest()}


@pytest.mark.row("A-09")
def test_an_upload_that_expired_is_begun_anew_once(side: Side, script: Script) -> None:
    """The second time it is the caller's turn."""
    expired = answer(403, {"code": "upload_expired"})
    uploads(script, expired, answer(200))
    assert side("upload", events(1)).id == "op_1"
    uploads(script, expired, expired)
    with pytest.raises(errors.UploadExpiredError):
        side("upload", events(1))


def test_an_upload_that_breaks_is_sent_again_from_its_beginning(side: Side, script: Script) -> None:
    """A PUT is replayable, and the file lies there."""
    seen: list[bytes] = []

    def broken(request: httpx.Request) -> httpx.Response:
        seen.append(request.read() if side.kind is Client else b"")
        raise httpx.ReadError("cut")

    uploads(script, answer(200))
    script.steps.insert(1, broken)
    assert side("upload", events(2)).id == "op_1"
    assert script.requests[2].read().count(b"\n") == 2


def test_an_uploads_result_counts_what_it_does_not_show(side: Side, script: Script) -> None:
    """Only failed events are listed; the counts are of all."""
    failed = {"position": 3, "status": "failed", "error": {"code": "event_invalid"}}
    batch = {"results": [failed], "created": 5, "duplicate": 1, "failed": 1}
    operation = {"operation_id": "op_1", "kind": "upload", "state": "succeeded", "batch": batch}
    script.steps = [answer(200, operation)]
    result = side("wait", "op_1")
    assert repr(result) == "BatchResult(created=5, duplicate=1, failed=1)"
    with pytest.raises(errors.PartialFailureError, match="1 of 7"):
        result.raise_for_failures()
