"""Lists of logs, API keys, channels and tenants, in pages by time of creation; one key, one event.

The key of a page is (created_at, how many rows of that instant came before): both are made rarely,
but nothing keeps two from one microsecond.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from ..cursors import Cursor, query_hash
from ..problems import Problem
from . import channels, jobs, schema, tenants
from .channels import Channel
from .keys import KeyRow
from .logs import LogRow
from .pages import DEFAULT_LIMIT, PageRequest, Reader
from .schema import api_keys, events, logs
from .tenants import Tenant

Show = Callable[[Row[Any]], dict[str, Any]]


def log_page(
    reader: Reader, params: Mapping[str, Any], tenant_id: str | None, show: Callable[[LogRow], Any]
) -> dict[str, Any]:
    """A page of logs; `tenant_id` None is all of them."""
    where = [] if tenant_id is None else [logs.c.tenant_id == tenant_id]
    query = query_hash({"logs": tenant_id, "order": params.get("order", "desc")})
    return page_of(reader, logs, where, query, params, lambda row: show(LogRow(**row._asdict())))


def key_page(
    reader: Reader, params: Mapping[str, Any], tenant_id: str | None, show: Callable[[KeyRow], Any]
) -> dict[str, Any]:
    """A page of API keys, revoked ones included; `tenant_id` None is all of them."""
    where = [] if tenant_id is None else [api_keys.c.tenant_id == tenant_id]
    query = query_hash({"keys": tenant_id, "order": params.get("order", "desc")})
    return page_of(reader, api_keys, where, query, params, lambda row: show(_key(row)))


def channel_page(
    reader: Reader,
    params: Mapping[str, Any],
    tenant_id: str | None,
    show: Callable[[Channel], Any],
) -> dict[str, Any]:
    """A page of channels; `tenant_id` None is all of them."""
    where = [] if tenant_id is None else [schema.channels.c.tenant_id == tenant_id]
    query = query_hash({"channels": tenant_id, "order": params.get("order", "desc")})
    table = schema.channels
    return page_of(reader, table, where, query, params, lambda row: show(channels.of_row(row)))


def tenant_page(
    reader: Reader, params: Mapping[str, Any], only: set[str], show: Callable[[Tenant], Any]
) -> dict[str, Any]:
    """A page of tenants that have each of the ids `only`; of all for none."""
    where = [schema.tenants.c.tenant_id == each for each in only]
    query = query_hash({"tenants": sorted(only), "order": params.get("order", "desc")})
    page = page_of(reader, schema.tenants, where, query, params, lambda row: row._asdict())
    with reader.store.read() as connection:
        found = tenants.with_logs(connection, page["items"])
    return {**page, "items": [show(each) for each in found]}


def erasure_page(
    reader: Reader, params: Mapping[str, Any], log_id: str, show: Show
) -> dict[str, Any]:
    """A page of a log's erasures, each with its `content`."""
    operations = schema.operations
    where = [operations.c.log_id == log_id, operations.c.kind == jobs.ERASURE]
    query = query_hash({"erasures": log_id, "order": params.get("order", "desc")})
    return page_of(reader, operations, where, query, params, show)


def hold_page(reader: Reader, params: Mapping[str, Any], log_id: str, show: Show) -> dict[str, Any]:
    """A page of a log's legal holds, released ones included."""
    where = [schema.legal_holds.c.log_id == log_id]
    query = query_hash({"holds": log_id, "order": params.get("order", "desc")})
    return page_of(reader, schema.legal_holds, where, query, params, show)


def find_key(connection: Connection, key_id: str) -> KeyRow | None:
    """The key of this id, without its secret."""
    row = connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).one_or_none()
    return None if row is None else _key(row)


def _key(row: Row[Any]) -> KeyRow:
    values = {name: getattr(row, name) for name in KeyRow.__slots__}
    return KeyRow(**{**values, "scopes": frozenset(row.scopes.split())})


def find_event(
    connection: Connection, log_id: str, *, event_id: str | None = None, index: int | None = None
) -> Row[Any]:
    """The row of an event, by its id or its index; raises `Problem("event_not_found")`."""
    which = events.c.event_id == event_id if index is None else events.c.idx == index
    row = connection.execute(select(events).where(events.c.log_id == log_id, which)).one_or_none()
    if row is None:
        raise Problem("event_not_found", "The log holds no such event")
    return row


def page_of(  # noqa: PLR0917 - which list, and which page of it
    reader: Reader,
    table: Table,
    where: Sequence[ColumnElement[bool]],
    query: str,
    params: Mapping[str, Any],
    show: Show,
) -> dict[str, Any]:
    """A page of the rows of a table with `created_at`; the primary key tells ties apart."""
    order, limit = params.get("order", "desc"), params.get("limit", DEFAULT_LIMIT)
    place = reader.place(
        PageRequest(order, limit, params.get("cursor")), Cursor(query, None, 0, ())
    )
    created = table.c.created_at
    statement = select(table).where(*where)
    skip = 0
    if place.key:
        at, skip = place.key
        statement = statement.where(created <= at if order == "desc" else created >= at)
    keys = [key.desc() if order == "desc" else key.asc() for key in (created, *table.primary_key)]
    with reader.store.read() as connection:
        found = connection.execute(statement.order_by(*keys).limit(limit + 1).offset(skip)).all()
    rows, following = found[:limit], None
    if len(found) > limit:
        at = rows[-1].created_at
        same = sum(row.created_at == at for row in rows)
        before = skip if place.key and place.key[0] == at else 0
        following = reader.mark(Cursor(query, None, 0, (at, before + same)))
    items = [show(row) for row in rows]
    return {"items": items, "next_cursor": following, "has_more": following is not None}
