"""Reading events: one, a list, a stored search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Unpack

from trailseal import _filters, _operations
from trailseal._async.core import AsyncCore
from trailseal._async.pagers import AsyncPager, AsyncSearch
from trailseal._filters import Filters
from trailseal._models import Event, Page


class AsyncReading(AsyncCore):
    """`get`, `query`, `search`, `results`."""

    async def get(
        self,
        event_id: str,
        *,
        log_id: str | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Event:
        """Fetch one event; raises `NotFoundError`, with `verify` an `IntegrityError`."""
        check = self._verifies(verify)
        proof = include_proof or check
        event = await self._run(
            _operations.get(self._settings, event_id, log_id=log_id, include_proof=proof)
        )
        return await self._checked_event(event) if check else event

    def query(
        self,
        *,
        limit: int = 100,
        offset: int | None = None,
        order: str | None = None,
        include_proof: bool = False,
        include_total: bool = False,
        wait: int | None = None,
        log_id: str | None = None,
        verify: bool | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncPager:
        """List the events that match all filters, newest first unless `order="asc"`.

        `limit` is the page's size, 1-1,000; `offset` skips 0-10,000 matches of the first page.
        Filters are in `Filters`. Nothing is sent before the pager is iterated. `wait` (seconds,
        up to 30) holds an ascending list that goes on from a `tail_cursor` until events arrive.

        With `verify` every event comes with its `verdict`, and the pager's `verification.report`
        sums them up; a bad event raises nothing.

        Raises:
            ConfigurationError: A filter is unknown.
            InvalidPageError: `limit` or `offset` is out of range; found before any I/O.
            InvalidQueryError: A value is not understood.
        """
        _filters.check_page(limit, offset)
        verification = self._verification(verify)
        proof = include_proof or verification is not None
        include = [name for name, on in (("proof", proof), ("total", include_total)) if on]
        options = {
            "limit": limit,
            "order": order,
            "include": include,
            "wait": wait,
            "log_id": log_id,
        }
        values = _filters.filter_values(filters)

        async def fetch(cursor: str | None) -> Page:
            skip = offset if cursor is None else None
            page = await self._run(
                _operations.page(self._settings, cursor, values, offset=skip, **options)
            )
            return await self._checked(page, verification)

        pager = AsyncPager(fetch)
        pager.verification = verification
        return pager

    async def search(
        self,
        query: str = "",
        *,
        restrictions: Mapping[str, Sequence[str]] | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        last: str | None = None,
        time_field: str | None = None,
        order: str | None = None,
        order_by: str | None = None,
        limit: int = 100,
        max_results: int | None = None,
        include_proof: bool = False,
        log_id: str | None = None,
        verify: bool | None = None,
    ) -> AsyncSearch:
        """Store a search and return it with its first page; iterate it for the rest.

        The grammar: words, `"a phrase"`, `field:part`, `field="exact"`, `data.amount>100`, `-not`,
        `AND OR NOT`, parentheses, `prefix*`, `field:[a TO b]`, `has:field`. `restrictions`
        (`{field: [values]}`) are ANDed by the server, so a query typed by a user cannot widen its
        scope. `start`, `end` and `verify` are as in `query`.

        Raises:
            InvalidPageError: `limit` is out of range; found before any I/O.
            InvalidQueryError: The query is not understood; `.errors` name the position.
        """
        _filters.check_page(limit, None)
        verification = self._verification(verify)
        given = {
            "query": query or None,
            "restrictions": dict(restrictions) if restrictions is not None else None,
            "start": _filters.moment(start, "start"),
            "end": _filters.moment(end, "end"),
            "last": last,
            "time_field": time_field,
            "order": order,
            "order_by": order_by,
            "limit": limit,
            "max_results": max_results,
            "include": ["proof"] if include_proof or verification is not None else None,
        }
        raw = await self._run(_operations.search(self._settings, given, log_id=log_id))
        page = {
            "limit": limit,
            "include": given["include"],
            "assert_restrictions": given["restrictions"],
        }

        async def fetch(cursor: str | None) -> Page:
            turn = {**page, "cursor": cursor}
            found = await self._run(
                _operations.results(self._settings, str(raw["search_id"]), turn)
            )
            return await self._checked(found, verification)

        search = AsyncSearch(raw, fetch)
        search.verification = verification
        if search.first_page is not None:
            await self._checked(search.first_page, verification)
        return search

    async def results(
        self,
        search_id: str,
        *,
        limit: int = 20,
        offset: int = 0,
        assert_restrictions: Mapping[str, Sequence[str]] | None = None,
        include_proof: bool = False,
        verify: bool | None = None,
    ) -> Page:
        """Fetch a page of a stored search: `limit` 1-1,000 events after `offset`.

        With `assert_restrictions` the server refuses (`RestrictionMismatchError`) unless the
        search was made with exactly these. Raises `ResultExpiredError` when the search is gone,
        `InvalidPageError` where `limit` or `offset` is out of range, before any I/O. With `verify`
        every event comes with its `verdict`.
        """
        _filters.check_page(limit, offset)
        verification = self._verification(verify)
        given = {
            "limit": limit,
            "offset": offset,
            "assert_restrictions": assert_restrictions,
            "include": ["proof"] if include_proof or verification is not None else None,
        }
        page = await self._run(_operations.results(self._settings, search_id, given))
        return await self._checked(page, verification)
