"""The caller, its usage, and what this server can do."""

from starlette.responses import Response

from .. import export_formats, vendors
from ..contract import operation
from ..problems import Problem
from ..schemas import documents, registry, rules
from ..store import listings, micros, tenants, usage
from ._http import ServerCall, answer

SIGNATURE_ALGORITHMS = ("ed25519",)
PLAN = "self-hosted"  # this server sells nothing
SCHEMA_LIMITS = {
    "schema_characters": documents.MAX_CHARS,
    "schema_levels": documents.MAX_DEPTH,
    "schema_values": documents.MAX_VALUES,
    "schema_patterns": rules.MAX_PATTERNS,
    "schema_subschemas": rules.MAX_UNROLLED,
    "schema_versions": registry.MAX_VERSIONS,
}


@operation("getCaller")
def get_caller(call: ServerCall) -> Response:
    """The key of this call."""
    with call.services.store.read() as connection:
        row = listings.find_key(connection, call.caller.key_id)
    if row is None:
        raise Problem("unauthenticated", "The API key is not known here")
    body = {
        "key_id": row.key_id,
        "name": row.name,
        "scopes": sorted(row.scopes),
        "expires_at": None if row.expires_at is None else micros.text(row.expires_at),
    }
    bound = {"tenant_id": row.tenant_id, "default_log_id": row.default_log}
    return answer(body | {name: value for name, value in bound.items() if value is not None})


@operation("getUsage")
def get_usage(call: ServerCall) -> Response:
    """What the key's tenant, or the whole server, stored this month."""
    tenant_id, month = call.caller.tenant_id, usage.period(micros.now())
    with call.services.store.read() as connection:
        used = usage.used(connection, tenant_id, month)
        tenant = None if tenant_id is None else tenants.of_id(connection, tenant_id)
    return answer(
        {
            "plan": PLAN,
            "period": month,
            "events_this_month": used.events,
            "events_limit": None if tenant is None else tenant.events_limit,
            "bytes": used.bytes,
            "retention_days": None if tenant is None else tenant.retention_days,
        }
    )


@operation("getCapabilities")
async def get_capabilities(call: ServerCall) -> Response:
    """Limits, formats, and the operations that answer 501."""
    services = call.services
    return answer(
        {
            "version": services.version,
            "limits": services.limits | SCHEMA_LIMITS,
            "export_formats": list(export_formats.MEDIA_TYPES),
            "ingest_sources": list(vendors.MODULES),
            "signature_algorithms": SIGNATURE_ALGORITHMS,
            "unsupported_operations": services.unsupported,
        }
    )
