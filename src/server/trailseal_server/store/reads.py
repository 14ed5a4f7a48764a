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
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    bindparam,
    func,
    select,
    text,
    true,
)

from ..query_sift import Sift
from ..times import TimeRange
from . import lookups, sifting
from .driver import binary
from .known import through_run
from .records import EventRow
from .schema import events
from .selections import Order, Selection
from .terms import row_id

MAX_COUNT = 10_000  # totals are exact up to here; counting further costs more than it tells
MAX_SKIPPED = 20_000  # indexes that are read to be passed over: some milliseconds
LOOK = 1024  # events at the end that is asked for: half a millisecond
SPARE = 2  # matches looked up for each one of a time that is wanted
NEAR = 4096  # events at the end of a range of time: a few milliseconds

Key = tuple[int, ...]

# What checks and sorts need of a row.
_E = events.c
CHECKED = (_E.idx, _E.body, _E.received_at, _E.ingested_by, _E.channel_id)


# And what tells their time: SQLite would look for two columns in all of the index that holds both.
TIMED = (_E.idx, _E.occurred_at, _E.received_at)


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
    if offset > MAX_SKIPPED:  # an engine skips faster than indexes travel
        return lookups.indexes(connection, selection, order, limit, offset)
    find = _in_time if selection.timed else _matching
    return find(connection, selection, order, offset + limit)[offset:]


def _matching(connection: Connection, selection: Selection, order: Order, limit: int) -> list[int]:
    """The first indexes that match."""

    def find(low: int, high: int, wanted: int, _passed: int) -> tuple[list[int], None]:
        return lookups.matching(connection, selection.within(low, high), order, wanted), None

    known, key, ends = selection.known, ("run", selection.match), (selection.low, selection.high)
    return through_run(known, selection.log, key, *ends, order, limit, find)[0]


def _in_time(connection: Connection, selection: Selection, order: Order, limit: int) -> list[int]:
    """The first indexes in a range of `occurred_at`: at the end that is asked for, else between the
    first and the last event of that time, so that a time long ago is not searched for in all events
    since."""
    known, found, rest = selection.known, list[int](), selection
    if known is None or known.get(selection.log, ("span", selection.occurred)) is None:
        near, rest = selection.split(order, LOOK)
        found = lookups.indexes(connection, near, order, limit, walk=True)
        if len(found) == limit or rest.low >= rest.high:
            return found
    rest = _spanned(connection, rest)
    if selection.match is not None:  # most matches between the two are of that time
        wanted = limit - len(found)
        some = _matching(connection, replace(rest, occurred=TimeRange()), order, SPARE * wanted)
        found += _timed(connection, selection, some)
        if len(some) < SPARE * wanted or len(found) >= limit:
            return found[:limit]
        rest = rest.behind(some[-1], order)
    near, rest = rest.split(order, NEAR)
    found += lookups.indexes(connection, near, order, limit - len(found), walk=True)
    return found + lookups.indexes(connection, rest, order, limit - len(found))


def _timed(connection: Connection, selection: Selection, indexes: Sequence[int]) -> list[int]:
    """Those of some events that are of the selection's time."""
    rows = rows_at(connection, selection.log.log_id, indexes, TIMED)
    return [row.idx for row in rows if selection.occurred.holds(row.occurred_at)]


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
    chosen = list(columns)
    at = [column.name for column in chosen].index(events.c.idx.name)  # a name is read for 0.3 µs
    statement = _those(connection, log_id, indexes, chosen, true())
    with binary(connection):
        rows = {row[at]: row for row in connection.execute(statement).all()}
    return [rows[index] for index in indexes]


def sifted(
    connection: Connection, log_id: str, indexes: Sequence[int], sifts: Iterable[Sift]
) -> Sequence[int]:
    """Those of some events that pass all sifts, in their order."""
    if not indexes:
        return []
    passing = sifting.passing(connection, sifts)
    statement = _those(connection, log_id, indexes, [events.c.idx], passing)
    found = set(connection.execute(statement).scalars().all())
    return [index for index in indexes if index in found]


def _those(
    connection: Connection,
    log_id: str,
    indexes: Sequence[int],
    columns: Sequence[ColumnElement[Any]],
    condition: ColumnElement[bool],
) -> Executable:
    """These columns of the events at these indexes that meet a condition."""
    low, high = min(indexes), max(indexes)
    of_log = select(*columns).where(events.c.log_id == log_id, condition)
    if high - low < len(indexes):  # they are all there are in between
        return of_log.where(events.c.idx >= low, events.c.idx <= high)
    if connection.dialect.name != "postgresql":
        return of_log.where(some(connection, indexes))
    # One look for each: a planner that knows little of a log would read all of it.
    given = bindparam("indexes", list(indexes), ARRAY(BigInteger))
    wanted = func.unnest(given).table_valued("at", name="wanted").render_derived()
    found = of_log.where(events.c.idx == wanted.c.at).limit(1).lateral("found")
    return select(*found.c).select_from(wanted).join(found, true())


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
        return set(lookups.indexes(connection, selection, None, None))
    found = lookups.source(connection, selection)
    if connection.dialect.name == "postgresql":
        looked = found.where & some(connection, among)
    else:
        rows = orjson.dumps([row_id(selection.log.log_no, index) for index in among]).decode()
        looked = found.where & text(_ROWS).bindparams(bindparam("rows", rows))
    statement = select(found.index).select_from(found.table).where(looked)
    return set(connection.execute(statement).scalars().all())


def read_entry(connection: Connection, log_id: str, index: int) -> bytes:
    """The entry at an index that is in the log."""
    here = (events.c.log_id == log_id, events.c.idx == index)
    entry: bytes = connection.execute(select(events.c.entry).where(*here)).scalar_one()
    return entry


def count(connection: Connection, selection: Selection, most: int = MAX_COUNT) -> tuple[int, bool]:
    """How many events match, its checks left out, and whether that is exact: counting ends at
    `most`."""
    low, high, known = selection.low, selection.high, selection.known
    if selection.match is None and not selection.timed:
        return high - low, True
    key = ("count", selection.match, selection.occurred, low, most)
    fact = None if known is None else known.get(selection.log, key)
    end, found, exact = fact or (low, 0, True)
    if end > high:  # of a larger snapshot
        end, found, exact = low, 0, True
    if exact and end < high:
        rest = lookups.count(connection, selection.within(end, high), most - found)
        found, exact = min(most, found + rest), found + rest <= most
    if known is not None:
        known.learn(selection.log, key, (high, found, exact))
    return found, exact


def _spanned(connection: Connection, selection: Selection) -> Selection:
    """The selection between the first and the last event of its time."""
    known, log = selection.known, selection.log
    if known is None:
        return selection.within(*lookups.span(connection, selection))
    key = ("span", selection.occurred)
    end, first, last = known.get(log, key) or (0, 0, 0)
    if end < log.size:
        fresh = replace(selection, low=end, high=log.size)
        low, high = lookups.span(connection, fresh)
        first, last = (min(first, low) if last else low, max(last, high)) if high else (first, last)
        known.learn(log, key, (log.size, first, last))
    return selection.within(first, last)
