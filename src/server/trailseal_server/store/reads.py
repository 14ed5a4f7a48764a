"""Reading events: a selection of one log's snapshot, its rows in order, and how a row is written.

Rules:
- A `Selection` is fixed: the tree size of its snapshot, an index range, an expression over the
  terms index, and checks of what that finds, which are made in matching.py. Rows are never changed
  or removed, so the same selection gives the same rows in every transaction; callers read it in
  chunks and hold no transaction between them.
- A range of `received_at` is an index range, because `received_at` never goes back within a log.
- Order is by index (which is `received_at`) or by `occurred_at`, where events without one come
  before all others and equal times go by index. Every order is total: the key of the last row says
  where the next chunk begins, so that nothing is lost or repeated.
- A record is the event's stored bytes with the server's fields behind them. It is never parsed and
  written again: numbers and times stay as they were sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    func,
    literal_column,
    or_,
    select,
)

from ..auth import Caller
from ..problems import Problem
from ..times import TimeRange, time_range
from . import fts5, logs, micros, tsvector
from .compiler import Check, Compiler, Plan
from .logs import LogRow
from .schema import events
from .search import Expression, Filters, every

MAX_COUNT = 10_000  # totals are exact up to here; counting further costs more than it tells
NEVER = -(2**62)  # the sort key of an event without occurred_at: before every time there is

Order: TypeAlias = Literal["asc", "desc"]
EventRow: TypeAlias = Row[Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Events [low, high) of a log that match; `occurred` further bounds `occurred_at`, `checks`
    must all pass (matching.py). `sort` names a member to sort by (matching.SORTS)."""

    log: LogRow
    low: int
    high: int
    match: Expression | None = None
    occurred: TimeRange = field(default_factory=TimeRange)
    checks: tuple[Check, ...] = ()
    by_occurred: bool = False
    sort: str | None = None

    @property
    def is_range(self) -> bool:
        """Whether it holds every event of its index range."""
        return self.match is None and self.occurred == TimeRange() and not self.checks

    def by_index(self) -> "Selection":
        """The same events in the order of the log."""
        return replace(self, by_occurred=False, sort=None)


class _Sources(NamedTuple):
    tables: tuple[FromClause, ...]
    where: ColumnElement[bool]
    order: ColumnElement[int]


def find_log(connection: Connection, log_id: str) -> LogRow:
    """The log as it stands now; raises `Problem("log_not_found")`."""
    log = logs.find(connection, log_id)
    if log is None:
        raise Problem("log_not_found", "There is no such log, or the key may not read it")
    return log


def may_read(connection: Connection, caller: Caller, log_id: str) -> bool:
    """Whether the caller reaches a log: a tenant-bound key only its tenant's own."""
    if caller.tenant_id is None:
        return True
    log = logs.find(connection, log_id)
    return log is not None and log.tenant_id == caller.tenant_id


def at_size(log: LogRow, size: int | None) -> LogRow:
    """The log as it stood at an earlier size; None is now."""
    return log if size is None else replace(log, size=min(size, log.size))


def select_events(
    connection: Connection,
    log: LogRow,
    filters: Filters,
    *,
    clock: int,
    extra: Sequence[Plan] = (),
    order_by: str = "received_at",
) -> Selection:
    """The events of a log's snapshot that pass the filters; raises `Problem` for bad ones."""
    plans = [*Compiler(connection, log.log_id, clock).filters(filters), *extra]
    match = every([plan.near for plan in plans if plan.near is not None])
    bounds = [plan for plan in plans if plan.times or plan.within]
    checks = tuple(p.check for p in plans if p.check is not None and p not in bounds)
    selection = replace(Selection(log, 0, log.size, match, checks=checks), **_order(order_by))
    times = time_range(filters.start, filters.end, filters.last, clock=clock)
    selection = _during(connection, selection, filters.time_field, times)
    for plan in bounds:
        if plan.times is not None:
            selection = _during(connection, selection, *plan.times)
        if plan.within is not None:
            low, high = max(selection.low, plan.within[0]), min(selection.high, plan.within[1])
            selection = replace(selection, low=low, high=max(low, high))
    return selection


def _order(order_by: str) -> dict[str, Any]:
    if order_by in {"received_at", "occurred_at"}:
        return {"by_occurred": order_by == "occurred_at"}
    return {"sort": order_by}


def _during(
    connection: Connection, selection: Selection, field: str, times: TimeRange
) -> Selection:
    """The part of a selection in a range of `received_at` or `occurred_at`."""
    if field == "occurred_at":
        return replace(selection, occurred=_overlap(selection.occurred, times))
    log, low, high = selection.log, selection.low, selection.high
    if times.start is not None:
        low = max(low, first_since(connection, log, times.start))
    if times.end is not None:
        high = min(high, first_since(connection, log, times.end + 1))
    return replace(selection, low=low, high=max(low, high))


def _overlap(one: TimeRange, other: TimeRange) -> TimeRange:
    starts = [t for t in (one.start, other.start) if t is not None]
    ends = [t for t in (one.end, other.end) if t is not None]
    return TimeRange(max(starts, default=None), min(ends, default=None))


def first_since(connection: Connection, log: LogRow, instant: int) -> int:
    """The first index received at or after an instant (µs); the log's size if there is none."""
    mine = events.c.log_id == log.log_id
    earliest = select(func.min(events.c.received_at)).where(mine, events.c.received_at >= instant)
    first = select(func.min(events.c.idx)).where(
        mine, events.c.received_at == earliest.scalar_subquery()
    )
    found: int | None = connection.execute(first).scalar()
    return log.size if found is None else min(found, log.size)


def read_rows(
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    *,
    after: tuple[int, ...] | None = None,
    offset: int = 0,
) -> Sequence[EventRow]:
    """At most `limit` rows in order, behind the key `after` (of `key_of`), or behind `offset`."""
    descending = order == "desc"
    beyond: ColumnElement[bool] | None = None
    if after is not None and selection.by_occurred:
        beyond = _beyond(after, descending)
    elif after is not None:
        (index,) = after
        selection = _narrow(selection, index, descending)
    if offset == 0 and _has_near(connection, selection):
        near, far = _parts(selection, descending)
        rows = _read(connection, near, order, limit)
        left = limit - len(rows)
        return [*rows, *_read(connection, far, order, left)] if left else rows
    return _read(connection, selection, order, limit, beyond=beyond, offset=offset)


def _read(
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    *,
    beyond: ColumnElement[bool] | None = None,
    offset: int = 0,
) -> Sequence[EventRow]:
    if selection.low >= selection.high:
        return []
    descending = order == "desc"
    sources = _sources(connection, selection)
    statement = _statement(selection, sources, select(events))
    keys = [_occurred(), sources.order] if selection.by_occurred else [sources.order]
    statement = statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
    if beyond is not None:
        statement = statement.where(beyond)
    return connection.execute(statement.limit(limit).offset(offset)).all()


def _has_near(connection: Connection, selection: Selection) -> bool:
    ordered = selection.match is None or selection.by_occurred
    return not ordered and connection.dialect.name == "postgresql"


def _parts(selection: Selection, descending: bool) -> tuple[Selection, Selection]:
    """The end of a selection that is read first, and the rest (see tsvector.py)."""
    low, high = selection.low, selection.high
    at = max(low, high - tsvector.NEAR) if descending else min(high, low + tsvector.NEAR)
    first, last = replace(selection, high=at), replace(selection, low=at)
    return (last, first) if descending else (first, last)


def rows_at(connection: Connection, log_id: str, indexes: Sequence[int]) -> Sequence[EventRow]:
    """The rows of these indexes, in their order."""
    statement = select(events).where(events.c.log_id == log_id, events.c.idx.in_(indexes))
    rows = {row.idx: row for row in connection.execute(statement)}
    return [rows[index] for index in indexes]


def read_indexes(connection: Connection, selection: Selection) -> set[int]:
    """The indexes of a selection, its checks left out; as many as its index range is long."""
    sources = _sources(connection, selection)
    statement = _statement(selection, sources, select(events.c.idx))
    return set(connection.execute(statement).scalars())


def read_entry(connection: Connection, log_id: str, index: int) -> bytes:
    """The entry at an index that is in the log."""
    here = (events.c.log_id == log_id, events.c.idx == index)
    entry: bytes = connection.execute(select(events.c.entry).where(*here)).scalar_one()
    return entry


def key_of(row: EventRow, selection: Selection) -> tuple[int, ...]:
    """Where a row stands in its order."""
    if not selection.by_occurred:
        return (row.idx,)
    return (NEVER if row.occurred_at is None else row.occurred_at, row.idx)


def count(connection: Connection, selection: Selection, most: int = MAX_COUNT) -> tuple[int, bool]:
    """How many events match, and whether that is exact: counting ends at `most`."""
    if selection.is_range:
        return selection.high - selection.low, True
    columns: Select[Any] = select(literal_column("1"))
    matching = _statement(selection, _sources(connection, selection), columns)
    some = matching.limit(most + 1).subquery()
    found: int = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return min(found, most), found <= most


def _narrow(selection: Selection, index: int, descending: bool) -> Selection:
    if descending:
        return replace(selection, high=min(selection.high, index))
    return replace(selection, low=max(selection.low, index + 1))


def _beyond(after: tuple[int, ...], descending: bool) -> ColumnElement[bool]:
    occurred, index = after
    key, idx = _occurred(), events.c.idx
    if descending:
        return or_(key < occurred, and_(key == occurred, idx < index))
    return or_(key > occurred, and_(key == occurred, idx > index))


def _occurred() -> ColumnElement[int]:
    return func.coalesce(events.c.occurred_at, NEVER)


def _sources(connection: Connection, selection: Selection) -> _Sources:
    """The tables and conditions of a selection, the terms index first, and its order by index."""
    log, match = selection.log, selection.match
    mine = events.c.log_id == log.log_id
    if match is None:
        inside = and_(mine, events.c.idx >= selection.low, events.c.idx < selection.high)
        return _Sources((events,), inside, events.c.idx)
    engine = tsvector if connection.dialect.name == "postgresql" else fts5
    found = engine.source(log, match, selection.low, selection.high)
    joined = and_(found.where, mine, events.c.idx == found.index)
    return _Sources((found.table, events), joined, found.order)


def _statement(selection: Selection, sources: _Sources, columns: Select[Any]) -> Select[Any]:
    statement = columns.select_from(*sources.tables).where(sources.where)
    times = selection.occurred
    if times == TimeRange():
        return statement
    # Beside a match, SQLite must not begin with the index on occurred_at: it would then run the
    # MATCH anew for each event. An expression has no index.
    occurred = events.c.occurred_at if selection.match is None else _occurred()
    if times.end is not None:
        statement = statement.where(occurred <= times.end)
    return statement.where(occurred >= (NEVER + 1 if times.start is None else times.start))


def record(row: EventRow, log: LogRow, proof: dict[str, Any] | None = None) -> bytes:
    """`EventRecord` as JSON; `proof` adds the entry and what opens its commitments."""
    sent = row.sent_at
    server = {
        "log_id": row.log_id,
        "index": row.idx,
        "received_at": micros.text(row.received_at),
        "sent_at": None if sent is None else micros.text(sent),
        "skew_ms": None if sent is None else (row.received_at - sent) // 1000,
        "state": "sealed" if row.idx < log.sealed_size else "pending",
        "leaf_hash": row.leaf_hash.hex(),
        "ingested_by": row.ingested_by,
        "channel_id": row.channel_id,
        "imported": row.imported,
        "redactions": None if row.redactions is None else orjson.Fragment(row.redactions),
    }
    if proof is not None:
        server |= {"entry": row.entry.decode(), **opening(row), "proof": proof or None}
    if b'"signature":{' in row.entry:
        server["signature"] = orjson.loads(row.entry).get("signature")
    given = {name: value for name, value in server.items() if value is not None}
    return bytes(row.body[:-1] + b"," + orjson.dumps(given)[1:])


def opening(row: EventRow) -> dict[str, Any]:
    """What opens an event's commitments: its seed, or the salts and redactions that replaced it."""
    if row.seed is not None:
        return {"seed": row.seed}
    return {
        "salts": orjson.Fragment(row.salts or b"[]"),
        "redactions": orjson.Fragment(row.redactions or b"[]"),
    }
