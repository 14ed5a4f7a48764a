"""Indexes of a selection from an engine's own index, by the way that reads least.

Rules:
- SQLite's terms index streams matches in the order of the log: one way for all.
- PostgreSQL's (GIN) gives no order. Events are walked from the end asked for, where frequent
  matches are found at once; how many were found there tells whether to walk on or to ask GIN for
  all of them, which reads each match, and each event where only a negation is asked for.
- `occurred_at` alone is read from its own index, or walked.
- PostgreSQL's planner knows neither how rare a lexeme is nor that reads end early: each statement
  is written so that one plan is left. `ts_match_vq`, the function behind `@@`, and an expression
  such as `idx + 0` have no index.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, select

from . import fts5, tsvector
from .known import MAX_RUN
from .schema import events
from .search import All, Expression, Source, Without
from .selections import Order, Selection

LOOKS = (1024, 4096)  # events walked before anything is known: 0.7 and 2.8 ms
WALK = 3  # what it costs to walk an event, where GIN reads a match for 1 (0.22 µs)
VISIT = 5  # what it costs to look at an event that GIN found
SHORT = 4096  # events of a range that are rather read than looked up


def matching(connection: Connection, selection: Selection, order: Order, limit: int) -> list[int]:
    """The first indexes that match, in the order of the log; without `occurred_at`. At least
    `limit`, where there are so many."""
    if not _postgresql(connection):
        return indexes(connection, selection, order, limit)
    found: list[int] = []
    walked, rest = 0, selection
    for length in LOOKS:
        near, rest = rest.split(order, length)
        found += indexes(connection, near, order, limit - len(found), walk=True)
        walked += length
        if len(found) >= limit or rest.low >= rest.high:
            return found
    ahead = _ahead(rest, len(found), walked, limit - len(found))
    if ahead:
        near, rest = rest.split(order, ahead)
        found += indexes(connection, near, order, limit - len(found), walk=True)
        if len(found) >= limit:
            return found
    # GIN has all of them before the first one is known
    return found + indexes(connection, rest, order, max(limit, MAX_RUN + 1) - len(found))


def indexes(
    connection: Connection,
    selection: Selection,
    order: Order | None,
    limit: int | None,
    offset: int = 0,
    *,
    walk: bool = False,
) -> list[int]:
    """Indexes of a selection that is matched or timed; `walk` reads its events in order, until
    there are enough."""
    if selection.low >= selection.high or limit == 0:
        return []
    statement, key = _statement(connection, selection, None, walk=walk)
    if order is not None:
        statement = statement.order_by(key.desc() if order == "desc" else key.asc())
    if limit is not None:
        statement = statement.limit(limit).offset(offset)
    return list(connection.execute(statement).scalars().all())  # not one by one


def count(connection: Connection, selection: Selection, most: int) -> int:
    """How many events are in a selection that is matched or timed; beyond `most`, one more."""
    found, rest = 0, selection
    if _postgresql(connection) and selection.match is not None and not selection.timed:
        near, rest = selection.split("desc", LOOKS[0])
        found = _count(connection, near, most + 1, walk=True)
        near, rest = rest.split("desc", _ahead(rest, found, LOOKS[0], most + 1 - found))
        found += _count(connection, near, most + 1 - found, walk=True)
    return found + _count(connection, rest, most + 1 - found)


def _ahead(rest: Selection, found: int, walked: int, wanted: int) -> int:
    """How many events to walk for so many matches more, where `found` were in `walked`; 0 where
    GIN reads less."""
    if found == 0 or wanted <= 0:
        return 0
    length = rest.high - rest.low
    ahead = wanted * walked // found
    read = length // WALK if _negative(rest.match) else found * length // walked
    return 2 * ahead if WALK * ahead < read + VISIT * wanted else 0


def _negative(match: Expression | None) -> bool:
    """Whether GIN must read every event of the log to know what matches."""
    if isinstance(match, All):
        return all(map(_negative, match.terms))
    return isinstance(match, Without)


def span(connection: Connection, selection: Selection) -> tuple[int, int]:
    """The index range [first, last + 1) of the events of its time, matching or not; (0, 0) for
    none."""
    ends = select(func.min(events.c.idx), func.max(events.c.idx))
    short = selection.high - selection.low <= SHORT
    time = in_time(selection, events.c.occurred_at + 0 if short else events.c.occurred_at)
    statement = ends.where(in_range(selection, free=not short), time)
    first, last = connection.execute(statement).one()
    return (0, 0) if first is None else (first, last + 1)


def source(connection: Connection, selection: Selection, *, walk: bool = False) -> Source:
    """Where the matches of a selection are."""
    assert selection.match is not None  # noqa: S101 - whoever calls has looked
    given = (selection.log, selection.match, selection.low, selection.high)
    return tsvector.source(*given, walk=walk) if _postgresql(connection) else fts5.source(*given)


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


def _postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _count(connection: Connection, selection: Selection, most: int, *, walk: bool = False) -> int:
    if selection.low >= selection.high or most <= 0:
        return 0
    statement, _ = _statement(connection, selection, literal_column("1"), walk=walk)
    some = statement.limit(most).subquery()
    found: int = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return found


def _statement(
    connection: Connection,
    selection: Selection,
    column: ColumnElement[Any] | None,
    *,
    walk: bool,
) -> tuple[Any, ColumnElement[int]]:
    """The statement that finds a selection's indexes (or `column` of each), and the order by
    index that its engine has at hand."""
    if selection.match is None:
        statement = select(events.c.idx if column is None else column).select_from(events)
        if walk or selection.high - selection.low <= SHORT:
            time = in_time(selection, events.c.occurred_at + 0)
            return statement.where(in_range(selection), time), events.c.idx
        wanted = statement.where(in_range(selection, free=True), in_time(selection))
        return wanted, events.c.idx + 0
    found = source(connection, selection, walk=walk or selection.high - selection.low <= SHORT)
    statement = select(found.index if column is None else column).select_from(found.table)
    if not selection.timed:
        return statement.where(found.where), found.order
    # Beside a match, SQLite must not begin with the index on occurred_at: it would run the MATCH
    # anew for each event. An expression has no index.
    joined = (events.c.log_id == selection.log.log_id) & (events.c.idx == found.index)
    during = in_time(selection, events.c.occurred_at + 0)
    return statement.select_from(events).where(found.where, joined, during), found.order
