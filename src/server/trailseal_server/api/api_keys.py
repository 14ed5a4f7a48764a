"""API keys: making, listing, rotating and revoking them."""

from typing import Any

from starlette.responses import Response

from ..contract import ADMIN_SCOPE, operation
from ..problems import FieldError, Problem
from ..store import keys, listings, micros
from ..store.keys import KeyRow
from ._http import ServerCall, answer
from ._once import NAME

SECOND = 1_000_000  # microseconds


@operation("createApiKey")
def create_api_key(call: ServerCall) -> Response:
    """Make a key that may do no more than the caller's; the secret is shown now or never."""
    _refuse_idempotency(call)
    body, bound = call.body, call.caller.tenant_id
    tenant_id = body.get("tenant_id", bound)
    if bound is not None and tenant_id != bound:
        raise Problem("tenant_mismatch", "A key bound to a tenant makes keys of that tenant only")
    if ADMIN_SCOPE not in call.caller.scopes and not set(body["scopes"]) <= call.caller.scopes:
        raise Problem("permission_denied", "A key cannot give scopes that it does not have")
    with call.services.store.write() as connection:
        row, secret = keys.create(
            connection,
            name=body["name"],
            scopes=body["scopes"],
            tenant_id=tenant_id,
            default_log=body.get("default_log_id"),
            expires_at=_instant(body.get("expires_at")),
        )
    return answer({"api_key": _show(row), "secret": secret}, 201)


@operation("listApiKeys")
def list_api_keys(call: ServerCall) -> Response:
    """A page of keys; a tenant-bound key sees its tenant's."""
    tenant_id = call.caller.tenant_id or call.params.get("tenant_id")
    return answer(listings.key_page(call.services.reader, call.params, tenant_id, _show))


@operation("getApiKey")
def get_api_key(call: ServerCall) -> Response:
    """One key, without its secret."""
    return answer(_show(_find(call)))


@operation("revokeApiKey")
def revoke_api_key(call: ServerCall) -> Response:
    """End a key now; a key that has ended stays as it is."""
    row = _find(call)
    with call.services.store.write() as connection:
        keys.revoke(connection, row.key_id)
    call.services.authenticate.forget(row.key_id)
    return answer(_show(_find(call)))


@operation("rotateApiKey")
def rotate_api_key(call: ServerCall) -> Response:
    """Make a key like this one, which ends after the grace."""
    _refuse_idempotency(call)
    row, now = _find(call), micros.now()
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise Problem("key_not_found", "The key is not in force any more; create a new one")
    lifetime = None if row.expires_at is None else row.expires_at - row.created_at
    grace = call.body.get("grace_seconds", 0) * SECOND
    with call.services.store.write() as connection:
        keys.expire(connection, row.key_id, now + grace)
        new, secret = keys.create(
            connection,
            name=row.name,
            scopes=row.scopes,
            tenant_id=row.tenant_id,
            default_log=row.default_log,
            expires_at=None if lifetime is None else now + lifetime,
        )
    call.services.authenticate.forget(row.key_id)
    return answer({"api_key": _show(new), "secret": secret}, 201)


def _refuse_idempotency(call: ServerCall) -> None:
    """Keeping the answer for a day would keep the secret."""
    if NAME in call.request.headers:
        advice = "cannot be used here, because the secret would have to be kept; leave it out"
        errors = [FieldError("request_invalid", f"/header/{NAME}", advice)]
        raise Problem("request_invalid", f"{NAME} {advice}", errors=errors)


def _find(call: ServerCall) -> KeyRow:
    with call.services.store.read() as connection:
        row = listings.find_key(connection, call.params["key_id"])
    if row is None or call.caller.tenant_id not in {None, row.tenant_id}:
        raise Problem("key_not_found", "There is no such key")
    return row


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return micros.parse(text)
    except ValueError:
        advice = "must be RFC 3339 with an offset"
        errors = [FieldError("request_invalid", "/expires_at", advice)]
        raise Problem("request_invalid", f"expires_at {advice}", errors=errors) from None


def _show(row: KeyRow) -> dict[str, Any]:
    body: dict[str, Any] = {
        "key_id": row.key_id,
        "name": row.name,
        "tenant_id": row.tenant_id,
        "default_log_id": row.default_log,
        "scopes": sorted(row.scopes),
    }
    for name in ("created_at", "expires_at", "revoked_at"):
        instant = getattr(row, name)
        body[name] = None if instant is None else micros.text(instant)
    return {name: value for name, value in body.items() if value is not None}
