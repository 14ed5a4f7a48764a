"""The events of a selection, every check included: a page of them, or their number.

Rules:
- reads.py, occurred.py and sorts.py give the places of candidates in a list's order; the
  selection's checks are made here, a chunk at a time. One call reads at most `MAX_CHECKED`
  candidates: it may find few events or none, and says where to go on. Nothing is left out.
- Counting ends after `MAX_COUNTED` candidates, where they must be checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from ..query_evaluate import Event, document
from . import occurred, reads, sorts
from .reads import Key, Places
from .records import EventRow
from .search import Expression
from .selections import Order, Selection

MAX_CHECKED = 10_000  # candidates read for a page: about a tenth of a second
MAX_COUNTED = 200  # candidates read to count them: a first page pays for this too
GROWTH = 4  # of chunks in which nothing matches
CHUNK = 1_000  # candidates read at a time: a few megabytes of usual events
MAX_PLACES = 20_000  # places read at a time, where nothing is checked


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
    if not (selection.checks or selection.by_occurred or selection.sort):
        return _in_order(connection, selection, order, limit, after, skip)
    checked, found, skipped, read = bool(selection.checks), list[Key](), 0, 0
    size = min(CHUNK, 2 * limit) if checked else limit + 1
    while read < MAX_CHECKED or not checked:
        size = size if checked else min(MAX_PLACES, size + skip - skipped)
        asked = size
        step = places(connection, selection, order, asked, after)
        for key in _passing(connection, selection, step.keys):
            if skipped < skip:
                skipped += 1
            elif len(found) == limit:
                return Found(_rows(connection, selection, found), found[-1], skipped)
            else:
                found.append(key)
        after, read = step.after, read + size
        matched = skipped + len(found)
        size = _next(size, (skip + limit + 1 - matched) * read, matched) if checked else limit + 1
        if after is None or not (checked or len(step.keys) >= asked):
            break
    return Found(_rows(connection, selection, found), after, skipped)


def _next(size: int, wanted: int, matched: int) -> int:
    """How many candidates to read next, where `wanted / matched` should be enough."""
    return min(CHUNK, max(size, wanted // matched) if matched else GROWTH * size)


def places(
    connection: Connection, selection: Selection, order: Order, size: int, after: Key | None
) -> Places:
    """The next places of a selection in its order, its checks left out."""
    if selection.sort is not None:
        # sorted anew for each call, where it has no order of its own
        size = max(size, MAX_CHECKED) if selection.checks else size
        return sorts.places(connection, selection, order, size, after)
    read = occurred.places if selection.by_occurred else reads.places
    return read(connection, selection, order, size, after)


def all_places(connection: Connection, selection: Selection, order: Order) -> list[Key]:
    """The places of all events of a selection that is sorted; raises `Problem("query_invalid")`
    where they are too many (sorts.MAX_SORTED)."""
    found: list[Key] = []
    after: Key | None = None
    while True:
        step = sorts.places(connection, selection, order, sorts.MAX_SORTED, after)
        for at in range(0, len(step.keys), CHUNK):
            found += _passing(connection, selection, step.keys[at : at + CHUNK])
        after = step.after
        if after is None:
            return found


def _in_order(  # noqa: PLR0917 - as read_matches
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    after: Key | None,
    skip: int,
) -> Found:
    if after is not None:
        selection = selection.behind(after[0], order)
    found = reads.indexes_in_order(connection, selection, order, limit + 1, offset=skip)
    shown = found[:limit]
    rows = reads.rows_at(connection, selection.log.log_id, shown)
    return Found(rows, (shown[-1],) if len(found) > limit else None, skip)


def _rows(connection: Connection, selection: Selection, keys: Sequence[Key]) -> Sequence[EventRow]:
    return reads.rows_at(connection, selection.log.log_id, [key[-1] for key in keys])


def count(
    connection: Connection, selection: Selection, most: int = reads.MAX_COUNT
) -> tuple[int, bool]:
    """How many events match, up to `most`, and whether that is exact."""
    if not selection.checks:
        return reads.count(connection, selection, most)
    step = reads.places(connection, selection.by_index(), "desc", MAX_COUNTED, None)
    found = len(_passing(connection, selection, step.keys))
    return min(found, most), step.after is None and found <= most


def _passing(connection: Connection, selection: Selection, keys: Sequence[Key]) -> Sequence[Key]:
    if not selection.checks or not keys:
        return keys
    indexes = [key[-1] for key in keys]
    rows = reads.rows_at(connection, selection.log.log_id, indexes, reads.CHECKED)
    chunk = _Chunk(connection, selection, _Documents({row.idx: row for row in rows}))
    found = set.intersection(*(check(chunk) for check in selection.checks))
    return [key for key in keys if key[-1] in found]


class _Documents(Mapping[int, Event]):
    """Events of rows, parsed when they are looked at."""

    def __init__(self, rows: Mapping[int, EventRow]) -> None:
        self._rows = rows
        self._parsed: dict[int, Event] = {}

    def __getitem__(self, index: int) -> Event:
        if index not in self._parsed:
            row = self._rows[index]
            found = document(row.body, row.received_at, row.ingested_by, row.channel_id)
            self._parsed[index] = found
        return self._parsed[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def bodies(self) -> dict[int, bytes]:
        """The events as they are stored."""
        return {index: row.body for index, row in self._rows.items()}


@dataclass(frozen=True)
class _Chunk:
    """A chunk of candidates, as compiler.py's checks see it."""

    connection: Connection
    selection: Selection
    documents: _Documents

    @property
    def bodies(self) -> Mapping[int, bytes]:
        """The events as they are stored."""
        return self.documents.bodies()

    def indexed(self, expression: Expression) -> set[int]:
        """Which of them the terms index finds."""
        log, low, high = self.selection.log, min(self.documents), max(self.documents) + 1
        found = reads.read_indexes(self.connection, Selection(log, low, high, expression))
        return found & self.documents.keys()
