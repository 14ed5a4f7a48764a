"""Public keys: those that sign a log's checkpoints, and those of clients who sign their events."""

from base64 import b64decode, b64encode
from operator import itemgetter
from typing import Any

from starlette.responses import Response

from ..contract import operation
from ..cursors import Cursor, query_hash
from ..problems import FieldError, Problem
from ..signer import verifier_key
from ..store import Connection, micros, selections, signers, signing_keys
from ..store.pages import DEFAULT_LIMIT, PageRequest
from ..store.signers import CheckpointKey
from ..store.signing_keys import SigningKey
from ..targets import open_log, target_of
from ._http import ServerCall, answer, log_of

MAX_KEYS = 1000  # of one log, revoked ones included: they are listed from memory
KEY_BYTES = 32


@operation("listVerificationKeys")
def list_verification_keys(call: ServerCall) -> Response:
    """A page of this log's keys, by creation."""
    params, reader, log_id = call.params, call.services.reader, log_of(call)
    order, limit = params.get("order", "desc"), params.get("limit", DEFAULT_LIMIT)
    request = PageRequest(order, limit, params.get("cursor"))
    query = query_hash({"verification_keys": log_id, "order": order})
    with call.services.store.read() as connection:
        keys = _all(call, connection, log_id)
    place = reader.place(request, Cursor(query, len(keys), 0, (0,)))
    listed = keys[: place.size]  # keys are only ever added, at the end: the pages are of one list
    if order == "desc":
        listed.reverse()
    end = place.key[0] + limit
    more = end < len(listed)
    following = reader.mark(Cursor(query, place.size, 0, (end,))) if more else None
    return answer({"items": listed[place.key[0] : end], "next_cursor": following, "has_more": more})


@operation("createVerificationKey")
def create_verification_key(call: ServerCall) -> Response:
    """Register a client's key with a log, which is made if it is the caller's own default."""
    body = call.body
    public_key = b64decode(body["public_key"])
    if len(public_key) != KEY_BYTES:
        raise _bad("/public_key", f"must be {KEY_BYTES} bytes")
    target = target_of(call.caller, call.params.get("log_id"), None)
    with call.services.store.write() as connection:
        log_id = open_log(connection, call.caller, target)
        key = _wanted(body, log_id, public_key)
        if key.key_id in {each["key_id"] for each in _checkpoint_keys(call, connection, log_id)}:
            raise _bad("/key_id", "is the id of the key that signs checkpoints")
        known = signing_keys.find(connection, log_id, key.key_id)
        if known is None:
            if signing_keys.count(connection, log_id) >= MAX_KEYS:
                raise Problem("quota_exceeded", f"A log may have {MAX_KEYS} keys")
            if not signing_keys.add(connection, key):
                raise Problem("unavailable", "Another request adds this key", retry_after=1.0)
    if known is not None and known.public_key != public_key:
        raise _bad("/key_id", "is taken by another key; choose another id")
    call.services.signatures.forget(key.key_id)
    return answer(_show(known or key), 201 if known is None else 200)


@operation("revokeVerificationKey")
def revoke_verification_key(call: ServerCall) -> Response:
    """End a client's key now; one that was revoked stays as it is."""
    log_id, key_id = log_of(call), call.params["key_id"]
    with call.services.store.write() as connection:
        signing_keys.revoke(connection, log_id, key_id)
        key = signing_keys.find(connection, log_id, key_id)
    if key is None:
        raise Problem("key_not_found", "The log has no such key of a client")
    call.services.signatures.forget(key_id)
    return answer(_show(key))


def _wanted(body: dict[str, Any], log_id: str, public_key: bytes) -> SigningKey:
    now = micros.now()
    key = SigningKey(
        log_id=log_id,
        key_id=body["key_id"],
        public_key=public_key,
        owner=body.get("owner"),
        created_at=now,
        valid_from=_instant(body, "valid_from") or now,
        valid_to=_instant(body, "valid_to"),
    )
    if key.valid_to is not None and key.valid_to < key.valid_from:
        raise _bad("/valid_to", "must not lie before valid_from")
    return key


def _instant(body: dict[str, Any], name: str) -> int | None:
    try:
        return micros.parse(body[name]) if name in body else None
    except ValueError:
        raise _bad(f"/{name}", "must be RFC 3339 with an offset") from None


def _all(call: ServerCall, connection: Connection, log_id: str) -> list[dict[str, Any]]:
    clients = [_show(key) for key in signing_keys.all_of(connection, log_id)]
    found = _checkpoint_keys(call, connection, log_id) + clients
    return sorted(found, key=itemgetter("created_at"))


def _checkpoint_keys(call: ServerCall, connection: Connection, log_id: str) -> list[dict[str, Any]]:
    log, origin = selections.find_log(connection, log_id), call.services.signer.origin(log_id)
    keys = [
        key
        for key in signers.known(connection)
        if key.retired_at is None or key.retired_at >= log.created_at
    ]
    return [_signs(key, origin, max(key.since, log.created_at)) for key in keys]


def _signs(key: CheckpointKey, origin: str, since: int) -> dict[str, Any]:
    """A `VerificationKey` of a key that signs checkpoints."""
    public_key = bytes.fromhex(key.public_key)
    text = verifier_key(origin, public_key)
    body = {
        "key_id": text.split("+", 2)[1],
        "kind": "checkpoint",
        "algorithm": "ed25519",
        "public_key": b64encode(public_key).decode(),
        "verifier_key": text,
        "created_at": micros.text(since),
        "valid_from": micros.text(since),
    }
    if key.retired_at is not None:
        body["valid_to"] = micros.text(key.retired_at)
    return body


def _show(key: SigningKey) -> dict[str, Any]:
    body: dict[str, Any] = {
        "key_id": key.key_id,
        "kind": "client",
        "algorithm": "ed25519",
        "public_key": b64encode(key.public_key).decode(),
        "owner": key.owner,
    }
    for name in ("created_at", "valid_from", "valid_to", "revoked_at"):
        instant = getattr(key, name)
        body[name] = None if instant is None else micros.text(instant)
    return {name: value for name, value in body.items() if value is not None}


def _bad(pointer: str, advice: str) -> Problem:
    errors = [FieldError("request_invalid", pointer, advice)]
    return Problem("request_invalid", f"{pointer} {advice}", errors=errors)
