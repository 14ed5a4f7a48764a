"""The events of a selection, every check included: a page of them, all in order, or their number.

Rules:
- reads.py gives the candidates that the terms index finds; the selection's checks are made here, a
  chunk at a time, in the list's order. One call reads at most `MAX_CHECKED` candidates: it may find
  few events or none, and says where to go on. Nothing is left out.
- A list sorted by a member of the event has no index: all its candidates are read for each page,
  and more than `MAX_SORTED` are refused. Events without the member come first, ascending; texts are
  sorted by the code points of their first `MAX_KEY` characters, severities by their rank, equal
  values by index. A key is the place in that order.
- Counting ends after `MAX_COUNTED` candidates, where they must be checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from ..problems import Problem
from ..query_evaluate import Event, document, scalars
from . import reads
from .compiler import ENUMS
from .reads import EventRow, Order, Selection
from .search import Expression

MAX_CHECKED = 10_000  # candidates read for a page: about a quarter of a second
MAX_COUNTED = 2_000  # candidates read to count them; a first page pays for this too
MAX_SORTED = 100_000  # candidates that are sorted: a few seconds
MAX_KEY = 256  # characters: bounds the memory of a sort
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

Key = tuple[int, ...]


class Found(NamedTuple):
    """Matching rows; `after` is where to go on (None: that was all), `skipped` how many matches
    of `skip` were passed over."""

    rows: Sequence[EventRow]
    after: Key | None
    skipped: int


def read_matches(
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    *,
    after: Key | None = None,
    skip: int = 0,
) -> Found:
    """At most `limit` events behind the key `after`, the first `skip` of them passed over."""
    if selection.sort is not None:
        place = (after[0] if after else 0) + skip
        indexes = sorted_indexes(connection, selection, order)
        rows = reads.rows_at(connection, selection.log.log_id, indexes[place : place + limit])
        more = place + limit < len(indexes)
        return Found(rows, (place + limit,) if more else None, skip)
    if selection.checks:
        return _checked(connection, selection, order, limit, after, skip)
    rows = reads.read_rows(connection, selection, order, limit + 1, after=after, offset=skip)
    last = reads.key_of(rows[limit - 1], selection) if len(rows) > limit else None
    return Found(rows[:limit], last, skip)


def _checked(  # noqa: PLR0917 - as read_matches
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    after: Key | None,
    skip: int,
) -> Found:
    found: list[EventRow] = []
    skipped, read, size = 0, 0, min(CHUNK, 2 * limit)
    while read < MAX_CHECKED:
        rows = reads.read_rows(connection, selection, order, size, after=after)
        for row in _passing(connection, selection, rows):
            if skipped < skip:
                skipped += 1
            elif len(found) == limit:
                return Found(found, reads.key_of(found[-1], selection), skipped)
            else:
                found.append(row)
        if len(rows) < size:
            return Found(found, None, skipped)
        after, read, size = reads.key_of(rows[-1], selection), read + size, CHUNK
    return Found(found, after, skipped)


def sorted_indexes(connection: Connection, selection: Selection, order: Order) -> list[int]:
    """The indexes of all events of a selection with `sort`; raises `Problem("query_invalid")`."""
    field = SORTS[selection.sort or "action"]
    keys: list[tuple[tuple[int, int | str], int]] = []
    for rows in _chunks(connection, selection, MAX_SORTED):
        if rows is None:
            detail = f"More than {MAX_SORTED} events to sort: narrow it, or sort by received_at"
            raise Problem("query_invalid", detail)
        keys += [(_sort_key(row, field), row.idx) for row in rows]
    return [index for _, index in sorted(keys, reverse=order == "desc")]


def _sort_key(row: EventRow, field: str) -> tuple[int, int | str]:
    value = next(scalars(_document(row), field), None)
    if not isinstance(value, str):
        return 0, 0
    if field == "severity":
        ranks = ENUMS["severity"]
        return 1, ranks.index(value) if value in ranks else len(ranks)
    return 2, value[:MAX_KEY]


def count(
    connection: Connection, selection: Selection, most: int = reads.MAX_COUNT
) -> tuple[int, bool]:
    """How many events match, up to `most`, and whether that is exact."""
    if not selection.checks:
        return reads.count(connection, selection, most)
    found = 0
    for rows in _chunks(connection, selection, MAX_COUNTED):
        if rows is None:
            return found, False
        found += len(rows)
        if found > most:
            return most, False
    return found, True


def _chunks(
    connection: Connection, selection: Selection, most: int
) -> Iterator[Sequence[EventRow] | None]:
    """All matches by index, in chunks; ends with None where candidates are left after `most`."""
    after: Key | None = None
    plain = selection if not selection.by_occurred else selection.by_index()
    for _ in range(0, most, CHUNK):
        rows = reads.read_rows(connection, plain, "desc", CHUNK, after=after)
        yield _passing(connection, plain, rows)
        if len(rows) < CHUNK:
            return
        after = reads.key_of(rows[-1], plain)
    if reads.read_rows(connection, plain, "desc", 1, after=after):
        yield None


def _passing(
    connection: Connection, selection: Selection, rows: Sequence[EventRow]
) -> Sequence[EventRow]:
    if not selection.checks or not rows:
        return rows
    chunk = _Chunk(connection, selection, {row.idx: _document(row) for row in rows})
    found = set.intersection(*(check(chunk) for check in selection.checks))
    return [row for row in rows if row.idx in found]


@dataclass(frozen=True)
class _Chunk:
    """A chunk of candidates, as compiler.py's checks see it."""

    connection: Connection
    selection: Selection
    documents: Mapping[int, Event]

    def indexed(self, expression: Expression) -> set[int]:
        """Which of them the terms index finds."""
        log, low, high = self.selection.log, min(self.documents), max(self.documents) + 1
        found = reads.read_indexes(self.connection, Selection(log, low, high, expression))
        return found & self.documents.keys()


def _document(row: EventRow) -> Event:
    return document(row.body, row.received_at, row.ingested_by, row.channel_id)
