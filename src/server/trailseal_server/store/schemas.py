"""Event schemas: one row for each id and version, of a tenant or (`tenant_id` "") of all.

Rules:
- A row never changes, but for `deprecated_at`; none is removed.
- `created_at` of a schema's versions grows strictly: the newest one is the last.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, update

from ..cursors import query_hash
from . import micros
from .inserts import insert_missing
from .listings import page_of
from .pages import Reader
from .schema import event_schemas

SHARED = ""  # the tenant of schemas that belong to all
KEY_BYTES = 12

_c = event_schemas.c


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """A row of `event_schemas`; see schema.py. `document` is JSON."""

    schema_key: str
    tenant_id: str
    schema_id: str
    version: str
    document: bytes
    dialect: str
    compatibility: str
    work: int
    patterns: int
    created_at: int
    deprecated_at: int | None = None


def new_key() -> str:
    """A server's key for a new row."""
    return f"sch_{secrets.token_hex(KEY_BYTES)}"


def add(connection: Connection, row: SchemaRow) -> SchemaRow | None:
    """Store a row after all versions there are; None if its name is taken."""
    last = connection.execute(
        select(func.max(_c.created_at)).where(
            _c.tenant_id == row.tenant_id, _c.schema_id == row.schema_id
        )
    ).scalar()
    row = replace(row, created_at=max(micros.now(), (last or 0) + 1))
    values = {name: getattr(row, name) for name in SchemaRow.__slots__}
    return row if insert_missing(connection, event_schemas, values) else None


def count(connection: Connection, tenant_id: str) -> int:
    """How many versions a tenant has."""
    query = select(func.count()).select_from(event_schemas).where(_c.tenant_id == tenant_id)
    return connection.execute(query).scalar_one()


def named(connection: Connection, tenant_id: str, schema_id: str, version: str) -> SchemaRow | None:
    """The version that a tenant means by a name: its own one before the shared one."""
    mine = _c.tenant_id.in_({tenant_id, SHARED})
    query = select(event_schemas).where(mine, _c.schema_id == schema_id, _c.version == version)
    return _row(connection.execute(query.order_by(_c.tenant_id.desc()).limit(1)).one_or_none())


def newest(connection: Connection, tenant_id: str, schema_id: str) -> SchemaRow | None:
    """The last version of a schema that a tenant sees."""
    mine = _c.tenant_id.in_({tenant_id, SHARED})
    query = select(event_schemas).where(mine, _c.schema_id == schema_id)
    last = query.order_by(_c.created_at.desc(), _c.tenant_id.desc()).limit(1)
    return _row(connection.execute(last).one_or_none())


def by_key(connection: Connection, schema_key: str) -> SchemaRow | None:
    """The row of the server's own key."""
    query = select(event_schemas).where(_c.schema_key == schema_key)
    return _row(connection.execute(query).one_or_none())


def deprecate(connection: Connection, schema_key: str) -> None:
    """End a version; one that has ended stays as it is."""
    active = (_c.schema_key == schema_key) & _c.deprecated_at.is_(None)
    connection.execute(update(event_schemas).where(active).values(deprecated_at=micros.now()))


def page(
    reader: Reader,
    params: Mapping[str, Any],
    tenant_id: str | None,
    show: Callable[[SchemaRow], Any],
) -> dict[str, Any]:
    """A page of what a tenant sees; None sees all tenants' schemas."""
    where: list[ColumnElement[bool]] = []
    if tenant_id is not None:
        where.append(_c.tenant_id.in_({tenant_id, SHARED}))
    where += [_c[name] == params[name] for name in ("schema_id", "version") if name in params]
    if params.get("latest"):
        later = event_schemas.alias()
        same = (later.c.tenant_id == _c.tenant_id) & (later.c.schema_id == _c.schema_id)
        where.append(~exists().where(same, later.c.created_at > _c.created_at))
    chosen = {name: params.get(name) for name in ("schema_id", "version", "latest", "order")}
    query = query_hash({"schemas": tenant_id, **chosen})
    return page_of(
        reader, event_schemas, where, query, params, lambda row: show(SchemaRow(**row._asdict()))
    )


def _row(row: Row[Any] | None) -> SchemaRow | None:
    return None if row is None else SchemaRow(**row._asdict())
