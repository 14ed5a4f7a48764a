"""Tenants that have settings: a name, a retention, a quota. Others need no row to be written to."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from . import micros
from .inserts import insert_missing
from .schema import directory, tenants

KEY_BYTES = 12
SETTINGS = ("name", "retention_days", "events_limit")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant with its settings; `created_at` in microseconds since 1970, None means no limit."""

    tenant_id: str
    tenant_key: str
    name: str | None
    retention_days: int | None
    events_limit: int | None
    created_at: int
    default_log_id: str | None


def create(connection: Connection, settings: Mapping[str, Any]) -> tuple[Tenant, bool]:
    """The tenant of a `TenantInput`, and whether it was made now; an existing one stays."""
    values = {name: settings.get(name) for name in ("tenant_id", *SETTINGS)}
    fixed = {"tenant_key": f"ten_{secrets.token_hex(KEY_BYTES)}", "created_at": micros.now()}
    made = insert_missing(connection, tenants, {**values, **fixed})
    found = _one(connection, tenants.c.tenant_id == settings["tenant_id"])
    if found is None:
        raise RuntimeError("96 random bits named another tenant")
    return found, made


def find(connection: Connection, tenant_key: str) -> Tenant | None:
    """The tenant of this key."""
    return _one(connection, tenants.c.tenant_key == tenant_key)


def of_id(connection: Connection, tenant_id: str) -> Tenant | None:
    """The tenant of this id, if it has settings."""
    return _one(connection, tenants.c.tenant_id == tenant_id)


def replace(connection: Connection, tenant_key: str, settings: Mapping[str, Any]) -> None:
    """Give a tenant other settings; what is left out is reset."""
    values = {name: settings.get(name) for name in SETTINGS}
    where = tenants.c.tenant_key == tenant_key
    connection.execute(update(tenants).where(where).values(values))


def with_logs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Tenant]:
    """The tenants of these rows, each with its default log."""
    ids = [row["tenant_id"] for row in rows]
    statement = select(directory.c.default_for, directory.c.log_id).where(
        directory.c.default_for.in_(ids)
    )
    found = {row.default_for: row.log_id for row in connection.execute(statement)}
    return [Tenant(**row, default_log_id=found.get(row["tenant_id"])) for row in rows]


def _one(connection: Connection, where: ColumnElement[bool]) -> Tenant | None:
    rows = [row._asdict() for row in connection.execute(select(tenants).where(where))]
    return next(iter(with_logs(connection, rows)), None)
