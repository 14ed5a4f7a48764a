"""What events have in common: `trailseal.context`, and a client's `bind`."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import trailseal
from trailseal import AsyncClient, _context, errors

from .conftest import Script, Side, answer, make_key

RECEIPT = {"event_id": "e", "log_id": "l", "index": 0, "state": "pending", "replayed": False}


def logged(script: Script, act: Callable[[], object]) -> dict[str, Any]:
    """The event that a call sends, without what every event has."""
    script.steps = [answer(201, RECEIPT)]
    act()
    event = script.bodies()[-1]
    return {k: v for k, v in event.items() if k not in {"id", "occurred_at", "action"}}


def test_a_bound_client_fills_in_what_a_request_knows(side: Side, script: Script) -> None:
    """A view on the same connections; the client itself is as before."""
    bound = side.client.bind(tenant_id="t", actor="u", tags={"a": "1"})
    tags = {"b": "2"}
    found = logged(script, lambda: side.settle(bound.log("x", tags=tags)))
    assert found == {"tenant_id": "t", "actor": {"id": "u"}, "tags": {"a": "1", "b": "2"}}
    assert tags == {"b": "2"}
    assert logged(script, lambda: side("log", "x")) == {}


def test_what_an_event_says_wins_over_bind_and_bind_over_context(
    side: Side, script: Script
) -> None:
    """From the ambient to the explicit."""
    bound = side.client.bind(actor="bound", resource="r1").bind(severity="low")
    with trailseal.context(actor="around", severity="high", message="m"):
        found = logged(script, lambda: side.settle(bound.log("x", resources=["r2"], message=None)))
    expected = {"actor": {"id": "bound"}, "severity": "low", "message": "m"}
    assert found == {**expected, "resources": [{"id": "r2"}]}


def test_contexts_nest_and_end(side: Side, script: Script) -> None:
    """The inner one wins, and only inside its block; also when the block raises."""
    request = {"request_id": "r", "source_ip": "192.0.2.1"}
    with trailseal.context(actor="a", context=request):
        with suppress(KeyError), trailseal.context(actor="b", context={"request_id": "s"}):
            inner = logged(script, lambda: side("log", "x"))
            raise KeyError
        outer = logged(script, lambda: side("log", "x"))
    assert inner == {"actor": {"id": "b"}, "context": {**request, "request_id": "s"}}
    assert outer == {"actor": {"id": "a"}, "context": request}
    assert logged(script, lambda: side("log", "x")) == {}


@pytest.mark.parametrize("name", ["id", "occurred_at", "checksum", "seed", "signature", "actr"])
def test_what_belongs_to_one_event_or_to_none_is_refused(side: Side, name: str) -> None:
    """An id for all events would make all but the first conflicts."""
    with pytest.raises(errors.ConfigurationError, match=name):
        trailseal.context(**{name: "x"})  # type: ignore[misc]  # wrong on purpose
    with pytest.raises(errors.ConfigurationError, match=name):
        side.client.bind(**{name: "x"})


def test_batches_have_it_too_where_it_is_when_an_event_is_taken(side: Side, script: Script) -> None:
    """A generator may open a context for its own events."""

    def events() -> Any:
        for tenant in ("a", "b"):
            with trailseal.context(tenant_id=tenant):
                yield {"id": tenant, "action": "x"}

    results = [{"position": i, "id": str(i), "status": "created"} for i in (0, 1)]
    script.steps = [answer(200, {"results": results})]
    side.settle(side.client.bind(actor="u").log_bulk(events()))
    sent = script.bodies()[0]["events"]
    assert [event["tenant_id"] for event in sent] == ["a", "b"]
    assert {event["actor"]["id"] for event in sent} == {"u"}


def test_tasks_keep_apart_and_threads_begin_with_what_they_are_handed() -> None:
    """Two requests at the same time never share an actor."""
    seen: dict[str, Any] = {}
    meet = asyncio.Barrier(2)

    def respond(request: httpx.Request) -> httpx.Response:
        event = json.loads(request.content)
        seen[event["id"]] = event.get("actor")
        return answer(201, RECEIPT)

    async def handle(client: AsyncClient, name: str) -> None:
        with trailseal.context(actor=name):
            await meet.wait()
            await client.log("x", id=name)

    async def serve() -> None:
        transport = httpx.MockTransport(respond)
        async with AsyncClient("http://x", make_key(), http_transport=transport) as client:
            await asyncio.gather(handle(client, "a"), handle(client, "b"))

    asyncio.run(serve())
    assert seen == {"a": {"id": "a"}, "b": {"id": "b"}}

    def look(name: str) -> None:
        seen[name] = dict(_context._current.get())

    with trailseal.context(actor="c"):
        given = contextvars.copy_context()
        threads = [
            threading.Thread(target=look, args=("alone",)),
            threading.Thread(target=given.run, args=(look, "handed")),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert (seen["alone"], seen["handed"]) == ({}, {"actor": "c"})
