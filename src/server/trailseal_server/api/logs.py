"""Logs, checkpoints, proofs and tiles."""

from typing import Any

from starlette.responses import Response

from .. import log as tree
from ..contract import operation
from ..cursors import Cursor, query_hash
from ..problems import FieldError, Problem
from ..store import (
    Connection,
    IntegrityError,
    checkpoints,
    listings,
    logs,
    micros,
    selections,
    tiles,
)
from ..store.checkpoints import CheckpointRow
from ..store.logs import LogRow
from ..store.pages import DEFAULT_LIMIT, PageRequest
from ..store.proofs import Prover
from ..store.tiles import NodeReader, TilePathError
from ._http import ServerCall, answer, log_of


@operation("listLogs")
def list_logs(call: ServerCall) -> Response:
    """A page of logs; a tenant-bound key sees its tenant's."""
    bound = call.caller.tenant_id
    tenant_id = call.params.get("tenant_id", bound)
    if bound not in {None, tenant_id}:
        return answer({"items": [], "next_cursor": None, "has_more": False})
    page = listings.log_page(
        call.services.reader, call.params, tenant_id, lambda row: _log(call, row)
    )
    return answer(page)


@operation("createLog")
def create_log(call: ServerCall) -> Response:
    """Make a named log; 200 if it is there already with the same input."""
    body = call.body
    wanted = {
        "tenant_id": body.get("tenant_id", call.caller.tenant_id),
        "public": body.get("public", False),
        "description": body.get("description"),
    }
    if call.caller.tenant_id not in {None, wanted["tenant_id"]}:
        raise Problem("tenant_mismatch", "The API key is bound to another tenant")
    try:
        with call.services.store.write() as connection:
            row = logs.create(connection, body["log_id"], **wanted)
        return answer(_log(call, row), 201)
    except IntegrityError:
        with call.services.store.read() as connection:
            row = selections.find_log(connection, body["log_id"])
    if any(getattr(row, name) != value for name, value in wanted.items()):
        raise _bad("/log_id", "is taken by another log; choose another name")
    return answer(_log(call, row))


@operation("getLog")
def get_log(call: ServerCall) -> Response:
    """One log as it is now."""
    log_id = log_of(call)
    with call.services.store.read() as connection:
        return answer(_log(call, selections.find_log(connection, log_id)))


@operation("sealLog")
def seal_log(call: ServerCall) -> Response:
    """Sign a checkpoint now, or answer the latest one."""
    return answer(_checkpoint(call, call.services.signer.seal(log_of(call))))


@operation("getTile")
def get_tile(call: ServerCall) -> Response:
    """The bytes of a tile or an entry bundle, as under `/tlog/`."""
    log_id = log_of(call)
    with call.services.store.read() as connection:
        log = selections.find_log(connection, log_id)
        try:
            data = tiles.by_path(connection, log_id, log.sealed_size, call.params["path"])
        except TilePathError as error:
            raise Problem("checkpoint_not_found", f"No such tile: {error}") from None
    return Response(data, media_type="application/octet-stream")


@operation("listCheckpoints")
def list_checkpoints(call: ServerCall) -> Response:
    """A page of checkpoints by tree size."""
    params, reader, log_id = call.params, call.services.reader, log_of(call)
    order, limit = params.get("order", "desc"), params.get("limit", DEFAULT_LIMIT)
    query = query_hash({"checkpoints": log_id, "order": order})
    request = PageRequest(order, limit, params.get("cursor"))
    place = reader.place(request, Cursor(query, None, 0, ()))
    last = place.key[0] if place.key else None
    bounds = {"after": last or 0} if order == "asc" else {"before": last}
    with call.services.store.read() as connection:
        # One more than the page tells whether another follows.
        rows = checkpoints.listing(connection, log_id, limit=limit, **bounds)
        more = False
        if len(rows) == limit:
            end = rows[-1].tree_size
            beyond = {"after": end} if order == "asc" else {"before": end}
            more = bool(checkpoints.listing(connection, log_id, limit=1, **beyond))
    following = reader.mark(Cursor(query, None, 0, (rows[-1].tree_size,))) if more else None
    items = [_checkpoint(call, row) for row in rows]
    return answer({"items": items, "next_cursor": following, "has_more": more})


@operation("getLatestCheckpoint")
def get_latest_checkpoint(call: ServerCall) -> Response:
    """The newest checkpoint."""
    log_id = log_of(call)
    with call.services.store.read() as connection:
        return answer(_checkpoint(call, _at(connection, log_id, None)))


@operation("getCheckpoint")
def get_checkpoint(call: ServerCall) -> Response:
    """The checkpoint of exactly this tree size."""
    log_id = log_of(call)
    with call.services.store.read() as connection:
        return answer(_checkpoint(call, _at(connection, log_id, call.params["tree_size"])))


@operation("getInclusionProof")
def get_inclusion_proof(call: ServerCall) -> Response:
    """That an event, named by id or index, is under a checkpoint."""
    event_id, index = call.params.get("event_id"), call.params.get("index")
    if (event_id is None) == (index is None):
        raise _bad("/query/event_id", "or index is required, and not both")
    log_id = log_of(call)
    with call.services.store.read() as connection:
        log = selections.find_log(connection, log_id)
        row = listings.find_event(connection, log_id, event_id=event_id, index=index)
        checkpoint = _at(connection, log_id, call.params.get("tree_size"))
        if row.idx >= checkpoint.tree_size:
            raise Problem("checkpoint_not_found", "The checkpoint does not cover the event")
        proof = Prover(connection, log, checkpoint).proof(row.idx)
    body = {
        "log_id": log_id,
        "event_id": row.event_id,
        "leaf_hash": row.leaf_hash.hex(),
        "entry": row.entry.decode(),
    }
    return answer(body | proof)


@operation("getConsistencyProof")
def get_consistency_proof(call: ServerCall) -> Response:
    """That the checkpoint of size `second` continues the tree of size `first`."""
    log_id, first = log_of(call), call.params["first"]
    with call.services.store.read() as connection:
        later = _at(connection, log_id, call.params.get("second"))
        if first > later.tree_size:
            raise _bad("/query/first", f"must be at most the later size, {later.tree_size}")
        read = NodeReader(connection, log_id, later.tree_size)
        hashes = tree.proof(tree.consistency_ranges(first, later.tree_size), read)
    return answer(
        {
            "log_id": log_id,
            "first": first,
            "second": later.tree_size,
            "hashes": [each.hex() for each in hashes],
            "signed_note": later.note,
        }
    )


def _at(connection: Connection, log_id: str, tree_size: int | None) -> CheckpointRow:
    if tree_size is None:
        found = checkpoints.latest(connection, log_id)
    else:
        found = checkpoints.at(connection, log_id, tree_size)
    if found is None:
        detail = "No checkpoint of this size" if tree_size else "The log has no checkpoint yet"
        raise Problem("checkpoint_not_found", f"{detail}; listCheckpoints names those there are")
    return found


def _log(call: ServerCall, row: LogRow) -> dict[str, Any]:
    body = {
        "log_id": row.log_id,
        "origin": call.services.signer.origin(row.log_id),
        "public": row.public,
        "tree_size": row.size,
        "sealed_size": row.sealed_size,
        "created_at": micros.text(row.created_at),
    }
    own = {"tenant_id": row.tenant_id, "description": row.description}
    return body | {name: value for name, value in own.items() if value is not None}


def _checkpoint(call: ServerCall, row: CheckpointRow) -> dict[str, Any]:
    return {
        "origin": call.services.signer.origin(row.log_id),
        "tree_size": row.tree_size,
        "root_hash": row.root_hash.hex(),
        "signed_note": row.note,
        "published_at": micros.text(row.published_at),
    }


def _bad(pointer: str, advice: str) -> Problem:
    errors = [FieldError("request_invalid", pointer, advice)]
    return Problem("request_invalid", f"{pointer} {advice}", errors=errors)
