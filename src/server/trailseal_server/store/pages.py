"""Pages of events: `listEvents` and `getEvent`, and what searches share with them.

Rules:
- A page's cursor fixes the tree size and the clock of the first page: later pages are parts of the
  same list, whatever is appended meanwhile.
- An ascending list ends with a `tail_cursor`; the page it asks for takes the log as it is by then.
- A page whose events must be checked one by one may hold few or none and still have a next one.
- A page is read in one transaction. Its records are JSON as bytes, untouched (records.py).
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, select

from ..cursors import SECRET_BYTES, Cursor, decode, encode, query_hash
from ..problems import FieldError, Problem
from . import Store, matching, micros, records, selections
from .inserts import insert_missing
from .known import Known
from .logs import LogRow
from .proofs import Prover
from .schema import events, meta
from .search import Filters
from .selections import Order, Selection

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000  # events of a page: up to a few megabytes of usual events
MAX_OFFSET = 1_000_000  # rows to be skipped are read: about a second; a cursor costs nothing

_SECRET = "cursor_secret"  # noqa: S105 - the name of the row that holds it


@dataclass(frozen=True, slots=True)
class Page:
    """`items` are `EventRecord`s as JSON bytes; `total` only where it was asked for."""

    items: list[bytes]
    next_cursor: str | None
    tail_cursor: str | None = None
    total: int | None = None
    total_exact: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """For orjson: the records inside are fragments, written as they are."""
        body = {
            "items": [orjson.Fragment(item) for item in self.items],
            "next_cursor": self.next_cursor,
            "has_more": self.next_cursor is not None,
            "tail_cursor": self.tail_cursor,
            "total": self.total,
            "total_exact": self.total_exact,
        }
        optional = ("tail_cursor", "total", "total_exact")
        return {k: v for k, v in body.items() if v is not None or k not in optional}


class Reader:
    """Reads of one database; opens nothing before the first call."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known = Known()
        self._secret: bytes | None = None

    def log_size(self, log_id: str) -> int:
        """The log's size now, one row by its key: for long polls; raises `log_not_found`."""
        with self.store.read() as connection:
            return selections.find_log(connection, log_id).size

    def get_event(self, log_id: str, event_id: str, include: Collection[str] = ()) -> bytes:
        """One `EventRecord`; raises `Problem("event_not_found")`."""
        with self.store.read() as connection:
            log = selections.find_log(connection, log_id)
            mine = (events.c.log_id == log_id, events.c.event_id == event_id)
            row = connection.execute(select(events).where(*mine)).one_or_none()
            if row is None:
                raise Problem("event_not_found", "The log holds no event with this id")
            proof = Prover(connection, log).proof(row.idx) if "proof" in include else None
            return records.record(row, log, proof)

    def get_entry(self, log_id: str, index: int) -> tuple[str, dict[str, Any]]:
        """The entry of an event that is there, and what opens its commitments."""
        columns = [events.c[name] for name in ("entry", "seed", "salts", "redactions")]
        mine = (events.c.log_id == log_id, events.c.idx == index)
        with self.store.read() as connection:
            row = connection.execute(select(*columns).where(*mine)).one()
        return row.entry.decode(), records.opening(row)

    def list_events(
        self,
        log_id: str,
        filters: Filters,
        *,
        order: Order = "desc",
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        offset: int | None = None,
        include: Collection[str] = (),
        tail: bool = False,
    ) -> Page:
        """One page (contract.md, `listEvents`), of 1 to `MAX_LIMIT` events; `tail` takes no cursor
        but a `tail_cursor`, behind which events can still come.

        `include` knows `total` and `proof`. Raises `Problem`: log_not_found, limit_invalid,
        offset_invalid, cursor_invalid, query_invalid, request_invalid.
        """
        request = PageRequest(order, limit, cursor, offset, frozenset(include))
        query = query_hash({"log": log_id, "filters": filters.as_json(), "order": order})
        place = self.place(request, Cursor(query, None, micros.now(), ()))
        if tail and not (place.key and place.size is None):
            raise _bad("cursor", "must be a tail_cursor here: nothing comes behind another one")
        with self.store.read() as connection:
            log = selections.find_log(connection, log_id)
            snapshot = selections.at_size(log, place.size)
            selection = selections.select_events(
                connection, snapshot, filters, clock=place.clock, known=self.known
            )
            page = self.page(connection, log, selection, request, place)
            if "total" in request.include:
                total, exact = matching.count(connection, selection, order=order)
                page = replace(page, total=total, total_exact=exact)
        if order == "asc" and page.next_cursor is None:
            end = replace(place, size=None, key=(snapshot.size - 1,), skip=0)
            page = replace(page, tail_cursor=self.mark(end))
        return page

    def place(self, request: "PageRequest", first: Cursor) -> Cursor:
        """Where a page begins: at its cursor, else at `first`; raises `Problem` if it is bad."""
        if not 1 <= request.limit <= MAX_LIMIT:
            raise _bad("limit", f"must be 1 to {MAX_LIMIT}")
        if request.offset is not None and not 0 <= request.offset <= MAX_OFFSET:
            raise _bad("offset", f"must be 0 to {MAX_OFFSET}; beyond, follow next_cursor")
        if request.cursor is None:
            return first
        if request.offset is not None:
            raise _bad("offset", "must not come with a cursor")
        return decode(request.cursor, self.secret(), first.query)

    def mark(self, cursor: Cursor) -> str:
        """The cursor as it travels."""
        return encode(cursor, self.secret())

    def page(
        self,
        connection: Connection,
        log: LogRow,
        selection: Selection,
        request: "PageRequest",
        place: Cursor,
        *,
        most: int | None = None,
    ) -> Page:
        """The page of a selection behind `place`; `most` is the length of the whole list."""
        skip = place.skip + (request.offset or 0)
        left = request.limit if most is None else max(0, most - place.seen - skip)
        if left == 0:
            return Page([], None)
        found = matching.read_matches(
            connection,
            selection,
            request.order,
            min(request.limit, left),
            after=place.key or None,
            skip=skip,
        )
        prover = Prover(connection, log) if "proof" in request.include else None
        items = [
            records.record(row, log, None if prover is None else prover.proof(row.idx))
            for row in found.rows
        ]
        if found.after is None or (most is not None and len(items) == left):
            return Page(items, None)
        following = replace(
            place,
            size=selection.log.size,
            key=found.after,
            seen=place.seen + found.skipped + len(items),
            skip=skip - found.skipped,
        )
        return Page(items, self.mark(following))

    def secret(self) -> bytes:
        """The secret of the database that signs cursors and uploads, made at its first use."""
        if self._secret is None:
            self._secret = _read_secret(self.store) or _make_secret(self.store)
        return self._secret


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a caller may say about a page."""

    order: Order = "desc"
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    offset: int | None = None
    include: frozenset[str] = frozenset()


def _read_secret(store: Store) -> bytes | None:
    with store.read() as connection:
        value = connection.execute(select(meta.c.value).where(meta.c.name == _SECRET)).scalar()
    return None if value is None else bytes.fromhex(value)


def _make_secret(store: Store) -> bytes:
    secret = os.urandom(SECRET_BYTES)
    with store.write() as connection:  # unless another process was first
        insert_missing(connection, meta, {"name": _SECRET, "value": secret.hex()})
    return _read_secret(store) or secret


def _bad(name: str, advice: str) -> Problem:
    code = f"{name}_invalid"
    errors = [FieldError(code, f"/query/{name}", advice)]
    return Problem(code, f"The {name} {advice}", errors=errors)
