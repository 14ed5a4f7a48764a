"""Events: writing them, reading them, streaming them out."""

from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from .. import export_formats, prepare
from ..batches import reason
from ..contract import operation
from ..exports import iter_export
from ..limits import INLINE_BYTES, PROOF_WAIT
from ..prepare import Origin
from ..problems import FieldError, Problem
from ..results import Receipt
from ..store import selections
from ..store.pages import DEFAULT_LIMIT, Page
from ..store.proofs import Prover
from ..store.search import Filters
from ..targets import Target, target_of
from ._http import ServerCall, answer, log_of, sent_at, until

LOOKED_UP = {"schema", "signature"}  # members whose check may have to ask the database
MAX_CHECK_ERRORS = 1000  # of a dry run, as the contract says


@operation("createEvent")
async def create_event(call: ServerCall) -> Response:
    """Store one event; with `include=proof`, wait a little for a checkpoint that covers it."""
    reply = call.services.handoff.reply()
    send = partial(
        call.services.ingest.send,
        reply,
        call.caller,
        [call.body],
        log_id=call.params.get("log_id"),
        sent_at=sent_at(call),
        pointer=None,
    )
    quick = int(call.request.headers.get("content-length", INLINE_BYTES + 1)) <= INLINE_BYTES
    quick &= call.body.keys().isdisjoint(LOOKED_UP)
    if quick:
        send()
    else:
        await run_in_threadpool(send)
    (item,) = await reply.future
    if item.receipt is None:
        raise reason(item)
    receipt: Any = item.receipt
    if call.params.get("include"):
        proof = await until(call, partial(_proof, call, item.receipt), bool, PROOF_WAIT)
        entry = await run_in_threadpool(_entry, call, item.receipt)
        receipt = asdict(receipt) | entry | proof
    return answer(receipt, 200 if item.receipt.replayed else 201)


@operation("validateEvents")
def validate_events(call: ServerCall) -> Response:
    """Say what is wrong with events, without storing them."""
    errors: list[FieldError] = []
    seen: set[tuple[Target, str]] = set()
    origin = Origin(call.caller.key_id)
    for position, event in enumerate(call.body["events"]):
        at = f"/events/{position}"
        try:
            tenant_id = event.get("tenant_id") if isinstance(event, dict) else None
            target = target_of(call.caller, call.params.get("log_id"), tenant_id)
            draft = prepare.draft(event, call.services.validate, origin, at)
            call.services.admission.check(call.caller, target, event, draft, at)
            if (target, draft.event_id) in seen:
                raise prepare.problem("duplicate_event_id", f"{at}/id", "occurs twice", event)
            seen.add((target, draft.event_id))
        except Problem as problem:
            errors += problem.errors or [FieldError(problem.code, at, problem.detail)]
    shown = [error.as_json() for error in errors[:MAX_CHECK_ERRORS]]
    return answer({"valid": not errors, "errors": shown})


@operation("getEvent")
def get_event(call: ServerCall) -> Response:
    """Read one event."""
    event_id, include = call.params["event_id"], call.params.get("include", ())
    record = call.services.reader.get_event(log_of(call), event_id, include)
    return Response(record, media_type="application/json")


@operation("listEvents")
async def list_events(call: ServerCall) -> Response:
    """One page of events; `wait` holds the answer until events follow a tail cursor."""
    params = call.params
    seconds = params.get("wait", 0)
    if seconds and ("cursor" not in params or params.get("order") != "asc"):
        advice = "needs order=asc and the tail_cursor of a page"
        error = FieldError("request_invalid", "/query/wait", advice)
        raise Problem("request_invalid", f"wait {advice}", errors=[error])
    page = await until(call, partial(_list, call), _says_something, seconds)
    return await run_in_threadpool(answer, page.as_json())


@operation("exportEvents")
def export_events(call: ServerCall) -> Response:
    """Stream every match; an answer that breaks off lacks its final chunk."""
    form = call.params.get("format", "jsonl")
    order = call.params.get("order", "asc")
    filters = Filters.of(call.params)
    pieces = iter_export(call.services.store, log_of(call), filters, form=form, order=order)
    return StreamingResponse(pieces, media_type=export_formats.MEDIA_TYPES[form])


def _list(call: ServerCall) -> Page:
    params = call.params
    return call.services.reader.list_events(
        log_of(call),
        Filters.of(params),
        order=params.get("order", "desc"),
        limit=params.get("limit", DEFAULT_LIMIT),
        cursor=params.get("cursor"),
        offset=params.get("offset"),
        include=params.get("include", ()),
        tail="wait" in params,
    )


def _says_something(page: Page) -> bool:
    # a bounded page may be empty and say where to look on (store/matching.py)
    return bool(page.items) or page.next_cursor is not None


def _entry(call: ServerCall, receipt: Receipt) -> dict[str, Any]:
    """The entry of a receipt, and what opens it for whoever sent the event.

    What replays a redacted event was not compared with it: it learns nothing of what is left.
    """
    entry, opening = call.services.reader.get_entry(receipt.log_id, receipt.index)
    known = "seed" in opening or not receipt.replayed
    return {"entry": entry, **(opening if known else {})}


def _proof(call: ServerCall, receipt: Receipt) -> dict[str, Any]:
    """An event's proof; empty until a checkpoint covers it."""
    with call.services.store.read() as connection:
        log = selections.find_log(connection, receipt.log_id)
        proof = Prover(connection, log).proof(receipt.index)
    return {"proof": proof, "state": "sealed"} if proof else {}
