"""Reading a selection: its places first, then the rows that are shown.

Rules:
- A place is the key of an event in its list's order, a tuple that ends with the event's index. The
  key of the last event says where the next chunk begins: nothing is lost or repeated.
- Places come from an index alone (the terms index, or that of `occurred_at`); a row is read only to
  be shown or checked. `Places.after` is None behind the last one: a chunk may hold fewer places
  than asked for, even none, and still not be the last.
- This module reads in the order of the log; occurred.py and sorts.py in others.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    text,
)

from . import fts5, tsvector
from .records import EventRow
from .schema import events
from .search import Source
from .selections import Order, Selection
from .terms import row_id

MAX_COUNT = 10_000  # totals are exact up to here; counting further costs more than it tells
NEAR = 4096  # events at the end that is read first: a few milliseconds
MAX_WALKED = 16 * NEAR  # events read in order on PostgreSQL, where near ones promise enough

Key = tuple[int, ...]

# What checks and sorts need of a row.
_E = events.c
CHECKED = (_E.idx, _E.body, _E.received_at, _E.ingested_by, _E.channel_id)


class Places(NamedTuple):
    """Some events of a list, in order; `after` is where to go on (None: that was all)."""

    keys: Sequence[Key]
    after: Key | None


def indexes_in_order(
    connection: Connection, selection: Selection, order: Order, limit: int, *, offset: int = 0
) -> list[int]:
    """The first `limit` indexes of a selection behind `offset`, in the order of the log, its
    checks left out."""
    low, high = selection.low, selection.high
    if selection.match is None and not selection.timed:
        every = range(low, high) if order == "asc" else range(high - 1, low - 1, -1)
        return list(every[offset : offset + limit])
    if offset or high - low <= NEAR or not _looks_near(connection, selection):
        return _indexes(connection, selection, order, limit, offset)
    near, rest = _split(selection, order, NEAR)
    found = _indexes(connection, near, order, limit, 0)
    if not selection.timed and found:  # as many again in as many events as here: walk there
        span = 2 * NEAR * limit // len(found)
        near, rest = _split(rest, order, span if span <= MAX_WALKED else 0)
        found += _indexes(connection, near, order, limit - len(found), 0, walk=True)
    if len(found) == limit:
        return found
    rest = _spanned(connection, rest) if rest.timed and rest.match is not None else rest
    return found + _indexes(connection, rest, order, limit - len(found), 0)


def _split(selection: Selection, order: Order, length: int) -> tuple[Selection, Selection]:
    """The part of a selection that is read first, of so many events, and the rest."""
    low, high = selection.low, selection.high
    at = max(low, high - length) if order == "desc" else min(high, low + length)
    first, last = selection.within(low, at), selection.within(at, high)
    return (last, first) if order == "desc" else (first, last)


def _looks_near(connection: Connection, selection: Selection) -> bool:
    """Whether the end that is asked for is worth a look of its own: there, common matches are
    found at once, which no index in another order tells (see tsvector.py)."""
    return selection.timed or connection.dialect.name == "postgresql"


def places(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    """The next places of a selection in the order of the log."""
    if after is not None:
        selection = selection.behind(after[-1], order)
    found = indexes_in_order(connection, selection, order, size)
    keys = [(index,) for index in found]
    return Places(keys, keys[-1] if len(found) == size else None)


def read_rows(
    connection: Connection, selection: Selection, order: Order, limit: int
) -> Sequence[EventRow]:
    """The first rows of a selection in the order of the log, its checks left out."""
    found = indexes_in_order(connection, selection, order, limit)
    return rows_at(connection, selection.log.log_id, found)


_ROWS = "terms.rowid IN (SELECT value FROM json_each(:rows))"
_SOME = {
    "postgresql": "idx = ANY(CAST(:indexes AS bigint[]))",
    "sqlite": "idx IN (SELECT value FROM json_each(:indexes))",
}


def rows_at(
    connection: Connection,
    log_id: str,
    indexes: Sequence[int],
    columns: Iterable[ColumnElement[Any]] = events.c,
) -> Sequence[EventRow]:
    """The rows of these indexes, in their order; `columns` must hold `idx`."""
    if not indexes:
        return []
    low, high = min(indexes), max(indexes)
    if high - low < len(indexes):  # they are all there are in between
        chosen = (events.c.idx >= low) & (events.c.idx <= high)
    else:
        chosen = some(connection, indexes)
    statement = select(*columns).where(events.c.log_id == log_id, chosen)
    rows = {row.idx: row for row in connection.execute(statement)}
    return [rows[index] for index in indexes]


def some(connection: Connection, indexes: Sequence[int]) -> Any:
    """The condition that an event's index is one of these: one parameter, however many."""
    postgresql = connection.dialect.name == "postgresql"
    value: Any = list(indexes) if postgresql else orjson.dumps(list(indexes)).decode()
    return text(_SOME[connection.dialect.name]).bindparams(bindparam("indexes", value))


def read_indexes(
    connection: Connection, selection: Selection, among: Sequence[int] | None = None
) -> set[int]:
    """The indexes of a selection, its checks left out: all of its index range, or those among
    some that lie far apart."""
    if among is None:
        return set(_indexes(connection, selection, None, None, 0))
    found = _source(connection, selection)
    if connection.dialect.name == "postgresql":
        looked = found.where & some(connection, among)
    else:
        rows = orjson.dumps([row_id(selection.log.log_no, index) for index in among]).decode()
        looked = found.where & text(_ROWS).bindparams(bindparam("rows", rows))
    statement = select(found.index).select_from(found.table).where(looked)
    return set(connection.execute(statement).scalars())


def read_entry(connection: Connection, log_id: str, index: int) -> bytes:
    """The entry at an index that is in the log."""
    here = (events.c.log_id == log_id, events.c.idx == index)
    entry: bytes = connection.execute(select(events.c.entry).where(*here)).scalar_one()
    return entry


def count(connection: Connection, selection: Selection, most: int = MAX_COUNT) -> tuple[int, bool]:
    """How many events match, its checks left out, and whether that is exact: counting ends at
    `most`."""
    if selection.match is None and not selection.timed:
        return selection.high - selection.low, True
    statement, _ = _statement(connection, selection, literal_column("1"))
    some_ = statement.limit(most + 1).subquery()
    found: int = connection.execute(select(func.count()).select_from(some_)).scalar_one()
    return min(found, most), found <= most


def in_time(
    selection: Selection, column: ColumnElement[Any] = events.c.occurred_at
) -> ColumnElement[bool]:
    """The bounds of `occurred_at`; without any, that there is one."""
    start, end = selection.occurred.start, selection.occurred.end
    bounds: list[ColumnElement[bool]] = [column.is_not(None)]
    bounds += [] if start is None else [column >= start]
    bounds += [] if end is None else [column <= end]
    return and_(*bounds)


def in_range(selection: Selection, *, free: bool = False) -> ColumnElement[bool]:
    """The events of the log that the index range holds; `free`: not as a range of the log's own
    index, so that the planner takes the one on the time."""
    index = events.c.idx + 0 if free else events.c.idx
    inside = (index >= selection.low) & (index < selection.high)
    return (events.c.log_id == selection.log.log_id) & inside


def _source(connection: Connection, selection: Selection) -> Source:
    assert selection.match is not None  # noqa: S101 - whoever calls has looked
    engine = tsvector if connection.dialect.name == "postgresql" else fts5
    found: Source = engine.source(selection.log, selection.match, selection.low, selection.high)
    return found


def _spanned(connection: Connection, selection: Selection) -> Selection:
    """The selection between the first and the last event of its time: an index's look at those
    alone, so that a time long ago is not searched for in all events since."""
    ends = select(func.min(events.c.idx), func.max(events.c.idx))
    first, last = connection.execute(
        ends.where(in_range(selection, free=True), in_time(selection))
    ).one()
    return selection.within(0, 0) if first is None else selection.within(first, last + 1)


def _statement(
    connection: Connection, selection: Selection, column: ColumnElement[Any] | None
) -> tuple[Any, ColumnElement[int]]:
    """The statement that finds a selection's indexes (or `column` of each), and the order by
    index that its engine has at hand."""
    if selection.match is None:
        statement = select(events.c.idx if column is None else column).select_from(events)
        # A short range is read itself; of a long one, its time alone, from the index on that.
        # A short range is read itself; of a long one its time alone, from the index on that:
        # an expression has no index, so each plan is the only one left.
        if selection.high - selection.low <= NEAR:
            time = in_time(selection, events.c.occurred_at + 0)
            return statement.where(in_range(selection), time), events.c.idx
        wanted = statement.where(in_range(selection, free=True), in_time(selection))
        return wanted, events.c.idx + 0
    found = _source(connection, selection)
    statement = select(found.index if column is None else column).select_from(found.table)
    if not selection.timed:
        return statement.where(found.where), found.order
    # Beside a match, SQLite must not begin with the index on occurred_at: it would run the MATCH
    # anew for each event. An expression has no index.
    joined = (events.c.log_id == selection.log.log_id) & (events.c.idx == found.index)
    during = in_time(selection, events.c.occurred_at + 0)
    return statement.select_from(events).where(found.where, joined, during), found.order


def _indexes(
    connection: Connection,
    selection: Selection,
    order: Order | None,
    limit: int | None,
    offset: int,
    *,
    walk: bool = False,
) -> list[int]:
    """Indexes from the engine's own index; `walk` reads the events in order instead, until there
    are enough (PostgreSQL; on SQLite both are one)."""
    if selection.low >= selection.high or limit == 0:
        return []
    statement, key = _statement(connection, selection, None)
    if selection.match is not None and connection.dialect.name == "postgresql":
        index = tsvector.terms_index.c.idx
        key = index if walk or selection.high - selection.low <= NEAR else index + 0
    if order is not None:
        statement = statement.order_by(key.desc() if order == "desc" else key.asc())
    if limit is not None:
        statement = statement.limit(limit).offset(offset)
    return list(connection.execute(statement).scalars())
