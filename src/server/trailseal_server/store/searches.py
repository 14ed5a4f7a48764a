"""Stored searches: `createSearch`, `getSearch`, `listSearchResults`, `deleteSearch`.

Rules:
- A search stores its request, the tree size and the clock; never its results. Its pages are read
  again from that snapshot: they repeat exactly, and what was redacted since shows redacted.
- `restrictions` are ANDed to the query. `assert_restrictions` must be exactly those the search was
  made with, else 403: a trusted caller can refuse to page through somebody else's search.
- A search ends `LIFETIME` after it was made: 410 from then on, 404 once it was swept away. A search
  in a log that the caller cannot reach is 404, as if it did not exist.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Row, delete, insert, select

from ..auth import Caller
from ..cursors import Cursor, query_hash
from ..problems import Problem
from . import matching, micros, selections
from .compiler import Compiler
from .logs import LogRow
from .pages import DEFAULT_LIMIT, Page, PageRequest, Reader
from .schema import searches
from .search import Filters
from .selections import Selection

LIFETIME = 48 * 3600 * 1_000_000  # microseconds; two days, as people expect from the seeds
MAX_SWEEP = 100  # old searches of the log removed with each new one
MAX_RESULTS = 10_000  # of a search that does not say

Request = Mapping[str, Any]  # `SearchInput`, `SearchResultsInput`: checked against the contract


@dataclass(frozen=True, slots=True)
class Search:
    """A stored search with one page; `as_json` is the contract's `Search`."""

    search_id: str
    log_id: str
    request: Request
    created_at: int
    expires_at: int
    count: int
    count_exact: bool
    page: Page

    def as_json(self) -> dict[str, Any]:
        """For orjson, without `checkpoint`."""
        body = {
            "search_id": self.search_id,
            "log_id": self.log_id,
            "query": self.request.get("query", ""),
            "restrictions": self.request.get("restrictions"),
            "created_at": micros.text(self.created_at),
            "expires_at": micros.text(self.expires_at),
            "count": self.count,
            "count_exact": self.count_exact,
            **self.page.as_json(),
        }
        return {name: value for name, value in body.items() if name != "restrictions" or value}


class Stored(NamedTuple):
    """A row of `searches`; see schema.py."""

    log_id: str
    search_id: str
    key_id: str
    tree_size: int
    request: bytes
    created_at: int
    expires_at: int


class Searches:
    """Searches of one database."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._store = reader.store

    def create(self, caller: Caller, log_id: str, request: Request) -> Search:
        """Store a search and read its first page; raises `Problem` for what it cannot evaluate."""
        now, search_id = micros.now(), f"srh_{secrets.token_hex(12)}"
        with self._store.read() as connection:
            log = selections.find_log(connection, log_id)
            row = Stored(
                log_id,
                search_id,
                caller.key_id,
                log.size,
                orjson.dumps(dict(request)),
                now,
                now + LIFETIME,
            )
            selection = select_search(connection, log, request, now)
            search = self._first(connection, row, log, selection)
        with self._store.write() as connection:
            old = (searches.c.log_id == log_id) & (searches.c.expires_at < now - LIFETIME)
            gone = select(searches.c.search_id).where(old).limit(MAX_SWEEP)
            for found in connection.execute(gone.with_for_update(skip_locked=True)).scalars():
                connection.execute(delete(searches).where(old, searches.c.search_id == found))
            connection.execute(insert(searches).values(row._asdict()))
        return search

    def get(self, caller: Caller, search_id: str) -> Search:
        """A stored search with its first page."""
        with self._store.read() as connection:
            row = find_search(connection, caller, search_id)
            log = selections.find_log(connection, row.log_id)
            return self._first(connection, row, log, stored_selection(connection, row))

    def results(self, caller: Caller, search_id: str, request: Request) -> Page:
        """A page: `{limit, offset or cursor, assert_restrictions, include}`; raises `Problem`
        search_not_found, search_expired, restriction_mismatch, cursor_invalid, limit_invalid."""
        with self._store.read() as connection:
            row = find_search(connection, caller, search_id)
            stored = orjson.loads(row.request)
            wanted = request.get("assert_restrictions")
            if wanted is not None and _sets(wanted) != _sets(stored.get("restrictions") or {}):
                detail = "The search was made with other restrictions than those asserted"
                raise Problem("restriction_mismatch", detail)
            log = selections.find_log(connection, row.log_id)
            selection = self._now(stored_selection(connection, row), log)
            return self._page(connection, row, log, selection, request)

    def delete(self, caller: Caller, search_id: str) -> None:
        """Forget a search; raises `Problem("search_not_found")`."""
        with self._store.write() as connection:
            row = find_search(connection, caller, search_id, ended=True)
            mine = (searches.c.log_id == row.log_id, searches.c.search_id == search_id)
            connection.execute(delete(searches).where(*mine))

    def _first(
        self, connection: Connection, row: "Stored | Row[Any]", log: LogRow, selection: Selection
    ) -> Search:
        request = orjson.loads(row.request)
        most = request.get("max_results", MAX_RESULTS)
        selection = self._now(selection, log)
        page = self._page(connection, row, log, selection, request)
        count, exact = len(page.items), True
        if page.next_cursor is not None or count == most:
            order = request.get("order", "desc")
            count, exact = matching.count(connection, selection, most, order)
        found = (row.search_id, row.log_id, request, row.created_at, row.expires_at)
        shown = max(min(count, most), len(page.items))
        return Search(*found, shown, exact and count <= most, page)

    def _now(self, selection: Selection, log: LogRow) -> Selection:
        """The selection as it is read in the transaction that found `log`."""
        snapshot = selections.at_size(log, selection.log.size)
        return replace(selection, log=snapshot, known=self._reader.known)

    def _page(
        self,
        connection: Connection,
        row: "Stored | Row[Any]",
        log: LogRow,
        selection: Selection,
        request: Request,
    ) -> Page:
        stored = orjson.loads(row.request)
        wanted = PageRequest(
            stored.get("order", "desc"),
            request.get("limit", DEFAULT_LIMIT),
            request.get("cursor"),
            request.get("offset"),
            frozenset(request.get("include", ())),
        )
        first = Cursor(query_hash({"search": row.search_id}), row.tree_size, row.created_at, ())
        place = self._reader.place(wanted, first)
        most = stored.get("max_results", MAX_RESULTS)
        return self._reader.page(connection, log, selection, wanted, place, most=most)


def forget(connection: Connection, log_id: str, text: str) -> None:
    """Forget the log's searches whose request holds this text."""
    quoted = orjson.dumps(text)[1:-1].lower()
    for row in connection.execute(select(searches).where(searches.c.log_id == log_id)).all():
        if quoted in row.request.lower():
            mine = (searches.c.log_id == log_id, searches.c.search_id == row.search_id)
            connection.execute(delete(searches).where(*mine))


def select_search(connection: Connection, log: LogRow, request: Request, clock: int) -> Selection:
    """The events of a `SearchInput` in a log's snapshot."""
    query = request.get("query", "")
    filters = Filters.of({**request, "q": query if query.strip() else None})
    compiler = Compiler(connection, log.log_id, clock)
    return selections.select_events(
        connection,
        log,
        filters,
        clock=clock,
        extra=compiler.restrictions(request.get("restrictions") or {}),
        order_by=request.get("order_by", "received_at"),
    )


def stored_selection(connection: Connection, row: Row[Any]) -> Selection:
    """The events of a stored search, as it stood when it was made."""
    log = selections.at_size(selections.find_log(connection, row.log_id), row.tree_size)
    return select_search(connection, log, orjson.loads(row.request), row.created_at)


def find_search(
    connection: Connection, caller: Caller, search_id: str, *, ended: bool = False
) -> Row[Any]:
    """The row of a search that the caller may see; `ended` finds one that has expired too."""
    row = connection.execute(_by_id(search_id)).one_or_none()
    if row is None or not selections.may_read(connection, caller, row.log_id):
        raise Problem("search_not_found", "There is no such search, or it ended long ago")
    if row.expires_at <= micros.now() and not ended:
        raise Problem("search_expired", "The search has ended: create it again")
    return row


def _by_id(search_id: str) -> Any:
    return select(searches).where(searches.c.search_id == search_id)


def _sets(restrictions: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in restrictions.items()}
