"""log_bulk: any number of events, cut into requests, results in the order given."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trailseal import (
    AsyncClient,
    UnreadFailuresWarning,
    _batches,
    _bulk,
    _json,
    _together,
    config,
    errors,
)
from trailseal._batches import Batch, Cutter
from trailseal._results import BatchResult

from .conftest import Script, Side, answer, make_key


def accept(request: httpx.Request) -> httpx.Response:
    """A server that takes every event but those with the action `bad`."""
    events = json.loads(request.content)["events"]
    results: list[dict[str, Any]] = []
    for i, event in enumerate(events):
        item = {"position": i, "id": event["id"]}
        if event["action"] == "bad":
            item |= {
                "status": "failed",
                "error": {"code": "checksum_mismatch", "message": "m", "retryable": False},
            }
        else:
            item |= {"status": "created", "receipt": {"event_id": event["id"]}}
        results.append(item)
    return answer(200, {"results": results, "created": 0, "duplicate": 0, "failed": 0})


def events(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"e{i}", "action": "a", **more} for i in range(count)]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 7), st.integers(20, 100))
def test_batches_joined_are_the_events_and_respect_both_limits(
    sizes: list[int], count: int, size: int
) -> None:
    """Concatenation, order, count and bytes, for any sizes and limits."""
    old = _batches.MAX_EVENTS, _batches.MAX_BYTES
    _batches.MAX_EVENTS, _batches.MAX_BYTES = count, size
    try:
        batches = [Batch()]
        for i, length in enumerate(sizes):
            content = b"x" * length
            if not batches[-1].fits(content):
                batches.append(Batch(i))
            batches[-1].add(i, str(i), content)
    finally:
        _batches.MAX_EVENTS, _batches.MAX_BYTES = old
    assert [i for batch in batches for i in batch.ids] == [*map(str, range(len(sizes)))]
    for batch in batches:
        total = sum(len(content) + 1 for content in batch.contents)
        assert len(batch.contents) == len(batch.ids) <= count
        assert total <= size or len(batch.contents) == 1


GOOD: list[dict[str, Any]] = [
    {"action": "a", "actor": {"id": "u", "name": "n"}, "resources": [{"id": "r", "type": "t"}]},
    {"action": "b", "occurred_at": "2026-01-01T00:00:00Z", "data": {"n": [1, 2.5, None]}},
    {"action": "c", "actor": "u", "resource": ("t", "r"), "tags": {"k": "v"}, "before": "x" * 400},
    {"action": "d", "context": {"source_ip": "::1"}, "outcome": "success", "subjects": ["s"]},
]
CIRCLE: dict[str, Any] = {}
CIRCLE["a"] = CIRCLE
BAD: list[Any] = [
    {"action": ""},
    {"actor": "u"},
    {"action": "a", "actr": 1},
    {"action": "a", "actor": {"name": "n", "type": "user"}, "resources": []},  # like the first
    {"action": "a", "actor": {"id": "u", "type": "usr"}},
    {"action": "a", "actor": {"id": "u" * 257}},
    {"action": "a", "outcome": ["success"]},
    {"action": "a", "data": float("nan")},
    {"action": "a", "message": "\ud800"},
    {"action": "a", "tags": {"k": 1}},
    {"action": "a", "resources": [{"id": "r", "x": 1}]},
    {"action": "a", "resources": [{"id": "r"}] * 101},
    {"action": "a", "actor": {"id": "\0"}},
    {"action": "a", "id": "e0"},
    {"action": "a", "id": "é"},
    {"action": "a", "id": "batch"},
    {"action": "a", "data": CIRCLE},
    "no mapping",
]


def logged(listed: Iterable[Any], tenant: str | None = None) -> list[tuple[int, object]]:
    """What a call would send and what it would refuse, at its place in the whole."""
    cutter = Cutter(config.load("http://x", make_key(), tenant=tenant, environ={}), {})
    found: list[tuple[int, object]] = []
    for batch in _bulk.cut(listed, cutter):
        sent = json.loads(b"[%s]" % b",".join(batch.contents))
        assert [event["id"] for event in sent] == [*batch.ids]
        assert len(sent) <= _batches.MAX_EVENTS
        size = sum(map(len, batch.contents)) + len(sent)
        assert len(sent) <= 1 or size <= _batches.MAX_BYTES
        refused = {at: raw["error"] for at, raw in batch.refused.items()}
        left = iter(sent)
        places = range(batch._first, batch._first + len(sent) + len(refused))
        found += [(at, refused.get(at) or next(left)) for at in places]
    return found


def named(given_events: list[Any]) -> list[Any]:
    return [
        {"id": f"e{i}", **event} if isinstance(event, dict) else event
        for i, event in enumerate(given_events)
    ]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:40])
@pytest.mark.parametrize("encoder", [_json.fast, _json.plain])
def test_a_list_is_refused_as_an_iterator_is(
    monkeypatch: pytest.MonkeyPatch, encoder: Callable[[Any], bytes], bad: Any
) -> None:
    """What is checked together with others is no less strictly checked."""
    monkeypatch.setattr(_json, "fast", encoder)
    given_events = named([*GOOD * 3, bad, *GOOD * 3])
    found = logged(given_events)
    assert found == logged(iter(given_events)) == logged(tuple(given_events))
    assert sum("errors" in event for _, event in found) == 1  # type: ignore[operator]  # a dict


@given(
    st.lists(st.sampled_from([*GOOD * 9, *BAD[:4]]), min_size=1, max_size=40).map(named),
    st.integers(1, 9),
    st.integers(400, 4000),
    st.sampled_from([None, "t"]),
)
def test_a_list_is_logged_as_an_iterator_is(
    given_events: list[Any], count: int, size: int, tenant: str | None
) -> None:
    """The same events are written and refused, whatever the limits of a request."""
    old = _batches.MAX_EVENTS, _batches.MAX_BYTES, _batches.TOGETHER, _batches.FEW
    _batches.MAX_EVENTS, _batches.MAX_BYTES, _batches.TOGETHER, _batches.FEW = count, size, 8, 2
    try:
        found = logged(given_events, tenant)
        assert found == logged(iter(given_events), tenant)
    finally:
        _batches.MAX_EVENTS, _batches.MAX_BYTES, _batches.TOGETHER, _batches.FEW = old
    assert [at for at, _ in found] == [*range(len(given_events))]


def test_usual_events_are_checked_together() -> None:
    """Else a list would be logged at half the speed, and nothing would tell."""
    found = _together.ready(named(GOOD * 25), None)
    assert found is not None
    assert (len(found[0]), len(found[1])) == (100, 7)


def test_values_are_counted_where_an_event_could_hold_too_many() -> None:
    """The limit of 10,000 values holds in a list, however small the events beside it are."""
    given_events = events(60)
    given_events[50]["data"] = [0] * 10_000
    cutter = Cutter(config.load("http://x", make_key(), environ={}), {})
    (batch,) = _bulk.cut(given_events, cutter)
    assert (len(batch.ids), [*batch.refused]) == (59, [50])
    assert batch.refused[50]["error"]["code"] == "event_too_large"


@pytest.mark.row("A-05", "C-02", "P-29")
@pytest.mark.parametrize("take", [list, tuple, iter])
def test_2500_events_are_three_requests_with_results_in_order(
    side: Side, script: Script, take: Callable[[Any], Any]
) -> None:
    """More than a thousand is no error."""
    script.steps = [accept] * 3
    result = side("log_bulk", take(events(2500)))
    assert [len(body["events"]) for body in script.bodies()] == [1000, 1000, 500]
    assert [item.id for item in result] == [f"e{i}" for i in range(2500)]
    assert [item.position for item in result] == list(range(2500))
    assert len(result.created) == len(result.receipts) == 2500


@pytest.mark.parametrize("wrong", [{"action": "a"}, "a", b"a", None, 7])
def test_one_event_is_no_batch(side: Side, wrong: object) -> None:
    """A mapping would be taken for a list of its names."""
    with pytest.raises(errors.ConfigurationError, match="log_event"):
        side("log_bulk", wrong)


def test_large_events_are_cut_by_bytes(side: Side, script: Script) -> None:
    """No request is above 10 MiB, whatever the count."""
    script.steps = [accept] * 3
    side("log_bulk", events(24, data="x" * 1_000_000))
    assert [len(body["events"]) for body in script.bodies()] == [10, 10, 4]
    assert all(len(request.content) <= 10 << 20 for request in script.requests)


@pytest.mark.row("A-05")
def test_no_event_is_an_error_before_any_io(side: Side, script: Script) -> None:
    """An empty batch is most often a bug of the caller."""
    with pytest.raises(errors.EmptyBatchError):
        side("log_bulk", [])
    assert script.requests == []


@pytest.mark.row("C-07", "C-08", "A-07")
def test_invalid_events_fail_alone_at_their_places(side: Side, script: Script) -> None:
    """Local and remote refusals look the same, and the others are logged."""
    script.steps = [accept]
    mixed = [
        *events(2),
        {"action": ""},
        {"id": "x", "action": "bad"},
        {"id": "e0", "action": "a"},
        {"action": "z"},
    ]
    result = side("log_bulk", mixed)
    assert [item.status for item in result] == [
        "created",
        "created",
        "failed",
        "failed",
        "failed",
        "created",
    ]
    assert [type(item.error) for item in result.failed] == [
        errors.EventValidationError,
        errors.ChecksumMismatchError,
        errors.DuplicateEventInBatchError,
    ]
    assert result.failed[0].error.errors[0].pointer == "/events/2/action"
    assert [receipt is None for receipt in result.receipts] == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]
    with pytest.raises(errors.PartialFailureError, match="3 of 6") as caught:
        result.raise_for_failures()
    assert caught.value.result is result


@pytest.mark.row("A-07", "C-09")
@pytest.mark.parametrize(
    ("given_events", "kind"),
    [
        ([*events(1), {"action": ""}], errors.EventValidationError),
        ([*events(1), *events(1)], errors.DuplicateEventInBatchError),
        (events(1001), errors.BatchTooLargeError),
    ],
)
def test_atomic_raises_and_sends_nothing(
    side: Side, script: Script, given_events: Any, kind: type
) -> None:
    """All or none is one request, or none."""
    with pytest.raises(kind):
        side("log_bulk", given_events, atomic=True)
    assert script.requests == []


def test_options_travel_in_the_envelope(side: Side, script: Script) -> None:
    """`atomic`, `channel` and `external_id` stand beside the events, the log in the query."""
    script.steps = [accept]
    side("log_bulk", events(1), atomic=True, channel="chn_1", external_id="ext", log_id="main")
    body = script.bodies()[0]
    assert {k: v for k, v in body.items() if k != "events"} == {
        "atomic": True,
        "channel": "chn_1",
        "external_id": "ext",
    }
    assert script.requests[0].url.params["log_id"] == "main"


def test_an_error_in_a_later_batch_carries_the_results_so_far(side: Side, script: Script) -> None:
    """The caller learns what was logged."""
    script.steps = [accept, answer(403, {"code": "permission_denied"})]
    with pytest.raises(errors.PermissionDeniedError) as caught:
        side("log_bulk", events(1500))
    assert len(caught.value.result.created) == 1000


@pytest.mark.parametrize(
    "results", [[], [{"position": 1}], [{"position": 0}, {"position": 0}], "x", [5]]
)
def test_an_answer_without_one_result_per_event_is_an_error(
    side: Side, script: Script, results: object
) -> None:
    """A result that is missing must not look like a success."""
    script.steps = [answer(200, {"results": results})]
    with pytest.raises(errors.UnexpectedResponseError):
        side("log_bulk", events(1))


@pytest.mark.row("C-07")
def test_failures_that_nobody_looked_at_warn() -> None:
    """Ignored failures are lost events."""
    failed = {"position": 0, "status": "failed"}
    with pytest.warns(UnreadFailuresWarning, match="1 event$"):
        BatchResult([failed])  # CPython finalizes it at once
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = BatchResult([failed])
        assert read.failed
        del read
        gc.collect()


async def test_an_async_client_takes_async_iterables(script: Script) -> None:
    """A stream of events is logged as it comes."""

    async def stream() -> AsyncIterator[dict[str, Any]]:
        for event in events(1001):
            yield event

    script.steps = [accept, accept]
    transport = httpx.MockTransport(script)
    async with AsyncClient("http://x", make_key(), http_transport=transport) as client:
        result = await client.log_bulk(stream())
    assert len(result.created) == 1001


def test_the_first_full_batch_is_sent_before_the_rest_is_read() -> None:
    """An endless iterable is logged in constant memory, results aside."""
    cutter = Cutter(config.load("http://x", make_key(), environ={}), {})
    full = [cutter.add(event) for event in events(1001)]
    assert [i for i, batch in enumerate(full) if batch] == [1000]
    assert len(cutter.finish().contents) == 1
