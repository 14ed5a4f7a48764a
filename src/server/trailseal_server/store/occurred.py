"""Reading a selection in the order of `occurred_at`.

Rules:
- Events without the time come before all others; equal times go by index. A place is
  (time or NEVER, index).
- Both parts are streamed from the index on (log_id, occurred_at, idx). What a match narrows is
  read from there too, a chunk of places at a time, unless the match finds so few that sorting them
  is less work.
- One call looks at no more than `MAX_WALKED` places: it may find none, and says where to go on.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, tuple_

from ..times import TimeRange
from . import reads
from .lookups import in_range, in_time
from .reads import Key, Places
from .schema import events
from .selections import Order, Selection

NEVER = -(2**62)  # stands for no time: before every time there is
FEW = 1000  # matches that are sorted at once: some milliseconds
MAX_WALKED = 20_000
WALKED_FIRST = 256
SCATTERED = 64  # a chunk spread over this many times its length is looked up place by place


def places(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    """The next places of a selection, its checks left out."""
    if selection.match is None:
        keys = _stream(connection, selection, order, size, after)
        return Places(keys, keys[-1] if len(keys) == size else None)
    untimed = replace(selection, occurred=TimeRange())
    if reads.count(connection, untimed, FEW)[1]:
        few = reads.indexes_in_order(connection, untimed, order, FEW)
        keys = _sorted(connection, selection, order, few, after)
        return Places(keys[:size], keys[size - 1] if len(keys) > size else None)
    return _walk(connection, selection, order, size, after)


def _walk(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    found: list[Key] = []
    walked, step = 0, WALKED_FIRST
    while walked < MAX_WALKED:
        keys = _stream(connection, selection, order, step, after)
        matching = _matching(connection, selection, [key[1] for key in keys])
        found += [key for key in keys if key[1] in matching]
        if len(found) >= size:
            return Places(found[:size], found[size - 1])
        if len(keys) < step:
            return Places(found, None)
        after, walked, step = keys[-1], walked + step, min(4 * step, MAX_WALKED // 2)
    return Places(found, after)


def _matching(connection: Connection, selection: Selection, indexes: Sequence[int]) -> set[int]:
    if not indexes:
        return set()
    low, high = min(indexes), max(indexes) + 1
    plain = replace(selection, occurred=TimeRange(), low=low, high=high)
    if high - low <= SCATTERED * len(indexes):
        return reads.read_indexes(connection, plain)
    return reads.read_indexes(connection, plain, among=indexes)


def _sorted(
    connection: Connection,
    selection: Selection,
    order: Order,
    indexes: Sequence[int],
    after: Key | None,
) -> list[Key]:
    rows = reads.rows_at(connection, selection.log.log_id, indexes, reads.TIMED)
    keys: list[Key] = [
        (NEVER if row.occurred_at is None else row.occurred_at, row.idx)
        for row in rows
        if not selection.timed or selection.occurred.holds(row.occurred_at)
    ]
    keys.sort(reverse=order == "desc")
    if after is None:
        return keys
    return [key for key in keys if (key < after if order == "desc" else key > after)]


def _stream(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> list[Key]:
    """Places of the index range and the time, matching or not."""
    parts = [_timed] if selection.timed else [_timeless, _timed]
    if order == "desc":
        parts.reverse()
    if after is not None:  # the parts before the one it is in lie behind us
        parts = parts[parts.index(_timeless if after[0] == NEVER else _timed) :]
    found: list[Key] = []
    for part in parts:
        if len(found) < size:
            found += part(connection, selection, order, size - len(found), after)
            after = None
    return found


def _timed(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> list[Key]:
    keys = (events.c.occurred_at, events.c.idx)
    statement = select(*keys).where(in_range(selection, free=True), in_time(selection))
    if after is not None:
        place = tuple_(*keys)
        statement = statement.where(place < after if order == "desc" else place > after)
        edge = keys[0] <= after[0] if order == "desc" else keys[0] >= after[0]
        statement = statement.where(edge)  # what SQLite's planner makes a range of the index from
    ordered = [key.desc() if order == "desc" else key.asc() for key in keys]
    rows = connection.execute(statement.order_by(*ordered).limit(size)).all()
    return [(row[0], row[1]) for row in rows]


def _timeless(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> list[Key]:
    if after is not None:
        selection = selection.behind(after[1], order)
    timeless = in_range(selection, free=True) & events.c.occurred_at.is_(None)
    keys = (events.c.occurred_at, events.c.idx)
    ordered = [key.desc() if order == "desc" else key.asc() for key in keys]
    statement = select(events.c.idx).where(timeless).order_by(*ordered).limit(size)
    return [(NEVER, index) for index in connection.execute(statement).scalars().all()]
