"""Redaction, erasure of data subjects, and legal holds."""

from typing import Any

from starlette.responses import Response

from ..contract import operation
from ..problems import Problem
from ..removals import locked
from ..store import holds, listings, micros, retained
from ..store.selections import may_read
from ._http import ServerCall, answer, log_of
from ._once import Keep, once
from .operations import location


@operation("redactEvent")
def redact_event(call: ServerCall) -> Response:
    """Take fields out of an event for good."""
    record = call.services.redactions.redact(
        call.caller.key_id,
        log_of(call),
        call.params["event_id"],
        call.body["paths"],
        call.body["reason"],
    )
    return Response(record, media_type="application/json")


@operation("createErasure")
def create_erasure(call: ServerCall) -> Response:
    """Queue the erasure of a subject."""

    def create() -> tuple[int, Any]:
        return 202, call.services.erasures.create(call.caller, log_of(call), call.body)

    return once(call, create, location)


@operation("listErasures")
def list_erasures(call: ServerCall) -> Response:
    """A page of the log's erasures."""
    return answer(call.services.erasures.page(log_of(call), call.params))


@operation("getErasure")
def get_erasure(call: ServerCall) -> Response:
    """One erasure."""
    return answer(call.services.erasures.get(call.caller, call.params["erasure_id"]))


@operation("createLegalHold")
def create_legal_hold(call: ServerCall) -> Response:
    """Stop erasure, redaction and retention."""

    def create() -> tuple[int, Any]:
        log_id = log_of(call)
        with call.services.store.write() as connection:
            locked(connection, log_id)
            return 201, _show(holds.create(connection, log_id, call.caller.key_id, call.body))

    def again(hold_id: Any) -> Any:
        with call.services.store.read() as connection:
            return _show(holds.one(connection, hold_id))

    return once(call, create, keep=Keep(lambda hold: hold["hold_id"], again))


@operation("listLegalHolds")
def list_legal_holds(call: ServerCall) -> Response:
    """A page of the log's holds, released ones included."""
    return answer(listings.hold_page(call.services.reader, call.params, log_of(call), _show))


@operation("releaseLegalHold")
def release_legal_hold(call: ServerCall) -> Response:
    """End a hold; what it kept is looked at anew by retention."""
    with call.services.store.write() as connection:
        row = holds.find(connection, call.params["hold_id"])
        if row is None or not may_read(connection, call.caller, row.log_id):
            raise Problem("hold_not_found", "There is no such legal hold")
        locked(connection, row.log_id)
        holds.release(connection, row)
        retained.looked_at(connection, row.log_id, 0)
        return answer(_show(holds.one(connection, row.hold_id)))


def _show(row: Any) -> dict[str, Any]:
    ended = row.released_at
    return {
        "hold_id": row.hold_id,
        "log_id": row.log_id,
        **({} if row.subject is None else {"subject": row.subject}),
        "reason": row.reason,
        "created_at": micros.text(row.created_at),
        "created_by": row.created_by,
        **({} if ended is None else {"released_at": micros.text(ended)}),
    }
