"""Reading a selection sorted by a member of the event.

Rules:
- Events without the member come first; texts are sorted by the code points of their first
  `MAX_KEY` characters, severities by their rank, equal values by index.
- A member with few distinct values is read value by value, each in the order of the log: the terms
  index finds the events of a value. A place is (number of the value, index); `LACKING` is the
  number of no value. `severity` and `outcome` have the contract's values, `action` and `source`
  those of the log's names.
- Everything else is sorted at once, in memory: few candidates, or a member with many values. More
  than `MAX_SORTED` candidates are refused. A place is then (how many came before, index).
"""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, select

from ..problems import Problem
from ..query_evaluate import document, scalars
from . import reads
from .compiler import ENUMS
from .reads import Key, Places
from .records import EventRow
from .schema import names
from .search import All, Expression, Tokens, Without
from .selections import Order, Selection
from .terms import exact_token

MAX_SORTED = 100_000  # candidates that are sorted: a few seconds
MAX_REMEMBERED = 5_000  # that are sorted once for all pages: 40 kB (known.py)
MAX_KEY = 256  # characters: bounds the memory of a sort
FEW = 500  # matches that are sorted at once: some milliseconds
MAX_VALUES = 200  # distinct values that are read one by one
CHUNK = 1_000  # candidates read at a time: a few megabytes of usual events

SORTS = {
    "action": "action",
    "actor": "actor.id",
    "resource": "resource.id",
    "outcome": "outcome",
    "severity": "severity",
    "source": "source.name",
    "message": "message",
}
LACKING = 0

_NAMED = frozenset({"action", "source"})  # at most MAX_NAME characters each: all are names
_TOKEN_DIGITS = 15  # of a token's: 60 bits, a number that every JSON reader takes


class _Value(NamedTuple):
    number: int
    match: Expression


def places(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    """The next places of a selection with `sort`, its checks left out; raises
    `Problem("query_invalid")` for too many candidates."""
    values = _values(connection, selection, order)
    if values is None:
        return _sorted(connection, selection, order, size, after)
    at = 0
    if after is not None:
        numbers = [value.number for value in values]
        if after[0] not in numbers:
            raise _lost()
        at = numbers.index(after[0])
    found: list[Key] = []
    for value in values[at:]:
        own = selection.match
        match = value.match if own is None else All((own, value.match))
        part = replace(selection.by_index(), match=match)
        if after is not None and value.number == after[0]:
            part = part.behind(after[1], order)
        some = reads.indexes_in_order(connection, part, order, size - len(found))
        found += [(value.number, index) for index in some]
        if len(found) == size:
            return Places(found, found[-1])
    return Places(found, None)


def by_value(connection: Connection, selection: Selection, order: Order) -> bool:
    """Whether a list is read value by value, hence in any length; else it is sorted at once."""
    return _values(connection, selection, order) is not None


def _values(connection: Connection, selection: Selection, order: Order) -> list[_Value] | None:
    """The values of the member in their order; None where all is sorted at once."""
    sort = selection.sort or "action"
    if sort not in ENUMS and sort not in _NAMED:
        return None
    if _are_few(connection, selection):
        return None
    tokens: Sequence[str]
    if sort in _NAMED:
        named = (names.c.log_id == selection.log.log_id) & (names.c.field == sort)
        statement = select(names.c.token).where(named).order_by(names.c.value)
        tokens = connection.execute(statement.limit(MAX_VALUES + 1)).scalars().all()
    else:
        known = ENUMS[sort] if sort == "severity" else sorted(ENUMS[sort])
        tokens = [exact_token(sort, value) for value in known]
    if len(tokens) > MAX_VALUES:
        return None
    found = [_Value(int(token[:_TOKEN_DIGITS], 16), Tokens((token,))) for token in tokens]
    if sort != "action":  # every event has one
        found.insert(0, _Value(LACKING, Without(Tokens(tuple(tokens)))))
    return found if order == "asc" else found[::-1]


def _are_few(connection: Connection, selection: Selection) -> bool:
    return reads.count(connection, selection, FEW)[1] and (
        not selection.is_range or selection.high - selection.low <= FEW
    )


def _sorted(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    start = 0 if after is None else after[0]
    known, log = selection.known, selection.log
    bounds = (selection.low, selection.high, selection.occurred)
    key = ("sorted", selection.match, selection.sort, order, bounds)
    indexes = None if known is None else known.get(log, key)
    if indexes is None:
        indexes = array("q", sorted_indexes(connection, selection, order))
        if known is not None and len(indexes) <= MAX_REMEMBERED:
            known.learn(log, key, indexes)
    if after is not None and list(indexes[start - 1 : start]) != [after[1]]:
        raise _lost()
    found: list[Key] = [
        (place, index) for place, index in enumerate(indexes[start : start + size], start + 1)
    ]
    return Places(found, found[-1] if start + size < len(indexes) else None)


def sorted_indexes(connection: Connection, selection: Selection, order: Order) -> list[int]:
    """The indexes of a whole selection with `sort`, its checks left out; raises
    `Problem("query_invalid")`."""
    field = SORTS[selection.sort or "action"]
    by_index = selection.by_index()
    indexes = reads.indexes_in_order(connection, by_index, "desc", MAX_SORTED + 1)
    if len(indexes) > MAX_SORTED:
        detail = f"More than {MAX_SORTED} events to sort: narrow it, or sort by received_at"
        raise Problem("query_invalid", detail)
    keys: list[tuple[tuple[int, int | str], int]] = []
    for at in range(0, len(indexes), CHUNK):
        some = indexes[at : at + CHUNK]
        rows = reads.rows_at(connection, selection.log.log_id, some, reads.CHECKED)
        keys += [(_key(row, field), row.idx) for row in rows]
    return [index for _, index in sorted(keys, reverse=order == "desc")]


def _key(row: EventRow, field: str) -> tuple[int, int | str]:
    event = document(row.body, row.received_at, row.ingested_by, row.channel_id)
    value = next(scalars(event, field), None)
    if not isinstance(value, str):
        return 0, 0
    if field == "severity":
        ranks = ENUMS["severity"]
        return 1, ranks.index(value) if value in ranks else len(ranks)
    return 2, value[:MAX_KEY]


def _lost() -> Problem:
    """The list cannot go on: what it is sorted by was taken out, or got too many values."""
    return Problem("cursor_lost", "What the list is sorted by has changed: begin again")
