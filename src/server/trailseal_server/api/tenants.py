"""Tenants: their retention and their quotas, which only keys bound to no tenant set."""

from typing import Any

from starlette.responses import Response

from ..contract import operation
from ..problems import FieldError, Problem
from ..store import listings, micros, tenants
from ..store.tenants import SETTINGS, Tenant
from ._http import ServerCall, answer


@operation("createTenant")
def create_tenant(call: ServerCall) -> Response:
    """Give a tenant settings; the same input again answers 200."""
    _permit(call)
    with call.services.store.write() as connection:
        tenant, made = tenants.create(connection, call.body)
    if not made and any(getattr(tenant, name) != call.body.get(name) for name in SETTINGS):
        detail = "The tenant has other settings; replace them with updateTenant"
        raise Problem("idempotency_conflict", detail)
    call.services.ingest.quotas.forget(tenant.tenant_id)
    return answer(_show(tenant), 201 if made else 200)


@operation("listTenants")
def list_tenants(call: ServerCall) -> Response:
    """A page of tenants; a tenant-bound key sees its own."""
    wanted = (call.params.get("tenant_id"), call.caller.tenant_id)
    only = {each for each in wanted if each is not None}
    return answer(listings.tenant_page(call.services.reader, call.params, only, _show))


@operation("getTenant")
def get_tenant(call: ServerCall) -> Response:
    """One tenant."""
    return answer(_show(_find(call)))


@operation("updateTenant")
def update_tenant(call: ServerCall) -> Response:
    """Replace a tenant's settings; other processes go by them within seconds."""
    _permit(call)
    tenant = _find(call)
    if call.body["tenant_id"] != tenant.tenant_id:
        errors = [FieldError("request_invalid", "/tenant_id", "cannot change")]
        raise Problem("request_invalid", "/tenant_id cannot change", errors=errors)
    with call.services.store.write() as connection:
        tenants.replace(connection, tenant.tenant_key, call.body)
    call.services.ingest.quotas.forget(tenant.tenant_id)
    return answer(_show(_find(call)))


def _permit(call: ServerCall) -> None:
    if call.caller.tenant_id is not None:
        detail = "A key bound to a tenant cannot change its tenant's retention and quota"
        raise Problem("permission_denied", detail)


def _find(call: ServerCall) -> Tenant:
    with call.services.store.read() as connection:
        tenant = tenants.find(connection, call.params["tenant_key"])
    if tenant is None or call.caller.tenant_id not in {None, tenant.tenant_id}:
        raise Problem("tenant_not_found", "There is no such tenant")
    return tenant


def _show(tenant: Tenant) -> dict[str, Any]:
    told = {name: getattr(tenant, name) for name in (*SETTINGS, "default_log_id")}
    return {
        "tenant_key": tenant.tenant_key,
        "tenant_id": tenant.tenant_id,
        "created_at": micros.text(tenant.created_at),
        **{name: value for name, value in told.items() if value is not None},
    }
