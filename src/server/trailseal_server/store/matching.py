"""The events of a selection, every check included: a page of them, or their number.

Rules:
- reads.py, occurred.py and sorts.py give the places of candidates in a list's order; the
  selection's checks are made here, a chunk at a time. One call reads at most `MAX_CHECKED`
  candidates: it may find few events or none, and says where to go on. Nothing is left out.
- Of many candidates the database sifts those first that cannot match (query_sift.py); what is left
  is parsed.
- Counting ends after `MAX_COUNTED` candidates, where they must be checked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection

from ..query_evaluate import Event, document
from ..times import TimeRange
from . import occurred, reads, sorts
from .known import MAX_RUN, through_run
from .reads import Key, Places
from .records import EventRow
from .schema import events
from .search import All, Expression
from .selections import Order, Selection

MAX_CHECKED = 10_000  # candidates of a page: 20 ms where they are sifted, else a tenth of a second
MAX_COUNTED = 200  # candidates read to count them: a first page pays for this too
START = 4  # candidates read first for each event that is wanted
GROWTH = 4  # of chunks in which nothing matches
CHUNK = 1_000  # candidates read at a time: a few megabytes of usual events
SIFTED = 4_000  # candidates sifted at a time
FEW = 100  # candidates that are rather read than sifted
SAMPLE = 1024  # of the newest events: how many have what is usual
MAX_PLACES = 20_000  # places read at a time, where nothing is checked


Columns: TypeAlias = Iterable[ColumnElement[Any]]


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
    columns: Columns = events.c,
) -> Found:
    """At most `limit` events behind the key `after`, the first `skip` of them passed over; of their
    `columns`, `idx` among them."""
    keys, following, skipped = _find(connection, selection, order, limit, after, skip)
    indexes = [key[-1] for key in keys]
    rows = reads.rows_at(connection, selection.log.log_id, indexes, columns)
    return Found(rows, following, skipped)


def _find(  # noqa: PLR0917 - as read_matches
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    after: Key | None,
    skip: int,
) -> tuple[Sequence[Key], Key | None, int]:
    """The places of `read_matches`."""
    if not (selection.checks or selection.by_occurred or selection.sort):
        return _in_order(connection, selection, order, limit, after, skip)
    selection = _narrowed(connection, selection)
    if not (selection.by_occurred or selection.sort):
        return _checked(connection, selection, order, limit, after, skip)
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
                return found, found[-1], skipped
            else:
                found.append(key)
        after, read = step.after, read + size
        matched = skipped + len(found)
        size = limit + 1
        if checked:
            size = min(CHUNK, _next(asked, (skip + limit + 1 - matched) * read, matched))
        if after is None or not (checked or len(step.keys) >= asked):
            break
    return found, after, skipped


def _next(size: int, wanted: int, matched: int) -> int:
    """How many candidates to read next, where `wanted / matched` should be enough."""
    return max(size, wanted // matched) if matched else GROWTH * size


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
    selection = _narrowed(connection, selection)
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
) -> tuple[Sequence[Key], Key | None, int]:
    if after is not None:
        selection = selection.behind(after[0], order)
    found = reads.indexes_in_order(connection, selection, order, limit + 1, offset=skip)
    shown = found[:limit]
    following = (shown[-1],) if len(found) > limit else None
    return [(index,) for index in shown], following, skip


def _checked(  # noqa: PLR0917 - as read_matches
    connection: Connection,
    selection: Selection,
    order: Order,
    limit: int,
    after: Key | None,
    skip: int,
) -> tuple[Sequence[Key], Key | None, int]:
    if after is not None:
        selection = selection.behind(after[0], order)
    wanted = skip + limit + 1
    found, stop = _scanned(connection, selection, order, wanted)
    shown = found[skip : skip + limit]
    if len(found) == wanted:
        stop = shown[-1]
    following = None if stop is None else (stop,)
    return [(index,) for index in shown], following, min(skip, len(found))


def _scanned(
    connection: Connection, selection: Selection, order: Order, limit: int, *, counted: bool = False
) -> tuple[list[int], int | None]:
    """The first indexes of a selection that pass its checks, and where the search for more broke
    off."""
    known, log, ends = selection.known, selection.log, (selection.low, selection.high)
    key = ("run", selection.match, selection.occurred, selection.checks)
    scan = _Scan(connection, selection, order, MAX_COUNTED if counted else MAX_CHECKED)
    return through_run(known, log, key, *ends, order, limit, scan)


class _Scan:
    """Finds what passes a selection's checks, in the order of the log (known.Find): of at most
    so many candidates in all."""

    def __init__(
        self, connection: Connection, selection: Selection, order: Order, most: int
    ) -> None:
        self._connection, self._selection = connection, selection
        self._order: Order = order
        sifted = any(check.sifts for check in selection.checks)
        self._most = SIFTED if sifted else CHUNK
        self._left = most

    def __call__(
        self, low: int, high: int, wanted: int, passed: int
    ) -> tuple[list[int], int | None]:
        self._left -= passed
        part, read, found = self._selection.within(low, high), 0, list[int]()
        stop, size = high if self._order == "desc" else low - 1, min(CHUNK, START * wanted)
        while self._left > 0:
            size = min(size, self._left, self._most)
            step = reads.places(self._connection, part, self._order, size, (stop,))
            for key in _passing(self._connection, part, step.keys):
                found.append(key[0])
                if len(found) == wanted:
                    return found, key[0]
            if step.after is None:
                return found, None
            stop, read, self._left = step.after[0], read + size, self._left - size
            size = _next(size, (wanted - len(found)) * read, len(found))
        return found, stop


def count(
    connection: Connection,
    selection: Selection,
    most: int = reads.MAX_COUNT,
    order: Order = "desc",
) -> tuple[int, bool]:
    """How many events match, up to `most`, and whether that is exact; where they are checked, of
    those that come first in an order."""
    if not selection.checks:
        return reads.count(connection, selection, most)
    selection = _narrowed(connection, selection.by_index())
    found, stop = _scanned(connection, selection, order, min(most + 1, MAX_RUN), counted=True)
    return min(len(found), most), stop is None and len(found) <= most


def _narrowed(connection: Connection, selection: Selection) -> Selection:
    """The selection, with `usual` in its match unless that would leave few events out. Sorts are
    bounded by the number of candidates: they have it always."""
    if selection.usual is None:
        return selection
    if selection.match is None and selection.sort is None:
        start = max(selection.low, (selection.high - 1) // SAMPLE * SAMPLE)
        newest = replace(selection.within(start, start + SAMPLE), match=selection.usual)
        newest = replace(newest, occurred=TimeRange(), checks=())
        if 2 * reads.count(connection, newest)[0] > newest.high - newest.low:
            return selection
    terms = (selection.usual,) if selection.match is None else (selection.match, selection.usual)
    return replace(selection, match=All(terms))


def _passing(connection: Connection, selection: Selection, keys: Sequence[Key]) -> Iterator[Key]:
    """Those of some places whose events pass all checks."""
    if not selection.checks:
        yield from keys
        return
    log_id, sifts = selection.log.log_id, [s for check in selection.checks for s in check.sifts]
    if sifts and len(keys) > FEW:
        left = set(reads.sifted(connection, log_id, [key[-1] for key in keys], sifts))
        keys = [key for key in keys if key[-1] in left]
    for at in range(0, len(keys), CHUNK):
        some = keys[at : at + CHUNK]
        rows = reads.rows_at(connection, log_id, [key[-1] for key in some], reads.CHECKED)
        chunk = _Chunk(connection, selection, _Documents({row.idx: row for row in rows}))
        found = set.intersection(*(check.find(chunk) for check in selection.checks))
        yield from (key for key in some if key[-1] in found)


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


@dataclass(frozen=True)
class _Chunk:
    """A chunk of candidates, as compiler.py's checks see it."""

    connection: Connection
    selection: Selection
    documents: _Documents

    def indexed(self, expression: Expression) -> set[int]:
        """Which of them the terms index finds."""
        log, low, high = self.selection.log, min(self.documents), max(self.documents) + 1
        found = reads.read_indexes(self.connection, Selection(log, low, high, expression))
        return found & self.documents.keys()
