"""Event schemas: registering, listing, checking and deprecating them."""

from typing import Any

import orjson
from starlette.responses import Response

from ..contract import operation
from ..problems import FieldError, Problem
from ..store import micros, schemas
from ..store.schemas import SHARED, SchemaRow
from ._http import ServerCall, answer


@operation("createSchema")
def create_schema(call: ServerCall) -> Response:
    """Register a version; 200 if it is there already with the same text."""
    row, new = call.services.schemas.register(call.caller.tenant_id, call.body)
    return answer(_show(row), 201 if new else 200)


@operation("listSchemas")
def list_schemas(call: ServerCall) -> Response:
    """A page of versions; a tenant-bound key sees its tenant's and the shared ones."""
    return answer(schemas.page(call.services.reader, call.params, call.caller.tenant_id, _show))


@operation("getSchema")
def get_schema(call: ServerCall) -> Response:
    """One version with its document."""
    return answer(_show(_find(call)))


@operation("deprecateSchema")
def deprecate_schema(call: ServerCall) -> Response:
    """Mark a version; one that is marked stays as it is."""
    row = _find(call)
    if call.caller.tenant_id not in {None, row.tenant_id}:
        raise Problem("permission_denied", "The schema belongs to all tenants")
    with call.services.store.write() as connection:
        schemas.deprecate(connection, row.schema_key)
    return answer(_show(_find(call)))


@operation("validateSchema")
def validate_schema(call: ServerCall) -> Response:
    """Say what is wrong with a schema, without storing it."""
    errors: list[FieldError] = []
    try:
        call.services.schemas.check(call.caller.tenant_id, call.body)
    except Problem as problem:
        errors += problem.errors
    return answer({"valid": not errors, "errors": [error.as_json() for error in errors]})


def _find(call: ServerCall) -> SchemaRow:
    with call.services.store.read() as connection:
        row = schemas.by_key(connection, call.params["schema_key"])
    if row is None or (call.caller.tenant_id not in {None, row.tenant_id} and row.tenant_id):
        raise Problem("schema_not_registered", "There is no such schema")
    return row


def _show(row: SchemaRow) -> dict[str, Any]:
    body = {
        "schema_key": row.schema_key,
        "schema_id": row.schema_id,
        "version": row.version,
        "document": orjson.Fragment(row.document),
        "dialect": row.dialect,
        "compatibility": row.compatibility,
        "state": "active" if row.deprecated_at is None else "deprecated",
        "created_at": micros.text(row.created_at),
    }
    if row.tenant_id != SHARED:
        body["tenant_id"] = row.tenant_id
    if row.deprecated_at is not None:
        body["deprecated_at"] = micros.text(row.deprecated_at)
    return body
