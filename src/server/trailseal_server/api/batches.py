"""Many events in one call: at once, later, and as another vendor's payload."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from .. import channels, vendors
from ..batches import check_quota, result
from ..channels import Route
from ..contract import operation
from ..problems import Problem
from ._http import ServerCall, answer, sent_at
from ._once import once
from .operations import location


@operation("createEvents")
async def create_events(call: ServerCall) -> Response:
    """Store a batch: all or nothing, or each good event and a reason for each bad one."""
    items = await asyncio.wrap_future(await run_in_threadpool(_submit, call))
    return answer(result(check_quota(items)))


@operation("createEventsAsync")
def create_events_async(call: ServerCall) -> Response:
    """Keep a batch; an operation stores it."""

    def create() -> tuple[int, Any]:
        keep = partial(call.services.batches.create, route_of(call, call.body), call.body["events"])
        return 202, keep(atomic=call.body.get("atomic", False), sent_at=sent_at(call))

    return once(call, create, location)


@operation("ingestPayload")
def ingest_payload(call: ServerCall) -> Response:
    """Store each record of a vendor's payload as an event."""
    source = call.params["source"]
    maximum = call.services.limits["batch_events"]

    def create() -> tuple[int, Any]:
        events = vendors.events(source, call.body, call.request.headers)
        if not events:
            raise Problem("batch_empty", "The payload holds no record")
        if len(events) > maximum:
            raise Problem("batch_too_large", f"The payload holds more than {maximum} records")
        route = route_of(call, call.params)
        batches = call.services.batches
        items = batches.submit(route, events, sent_at=sent_at(call), vendor=source).result()
        return 200, result(check_quota(items))

    return once(call, create)


def _submit(call: ServerCall) -> Any:
    route = route_of(call, call.body)
    atomic = call.body.get("atomic", False)
    return call.services.batches.submit(
        route, call.body["events"], atomic=atomic, sent_at=sent_at(call)
    )


def route_of(call: ServerCall, given: Any) -> Route:
    """The way that `channel` and `external_id`, of the body or the query, open."""
    log_id, reference = call.params.get("log_id"), given.get("channel")
    imported = call.params.get("imported", False)
    if reference is None:
        return Route(call.caller, log_id, imported=imported)
    with call.services.store.read() as connection:
        external_id = given.get("external_id")
        found = channels.route(connection, call.caller, log_id, reference, external_id)
    return replace(found, imported=imported)
