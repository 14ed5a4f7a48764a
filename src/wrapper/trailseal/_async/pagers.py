"""`query` and `search` to be iterated; the rules are in `_pages`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from trailseal._models import Event, Page
from trailseal._pages import Found, Pages, SearchInfo
from trailseal.errors import ApiError

Fetch = Callable[[str | None], Awaitable[Page]]


class AsyncPager(Pages):
    """Iterate it with `async for` for events, or `.pages()` for pages."""

    __module__ = "trailseal"  # as it is imported

    def __init__(self, fetch: Fetch, token: str | None = None, first: Page | None = None) -> None:
        super().__init__(token, first)
        self._fetch = fetch

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for page in self.pages():
            for event in page.items:
                yield event

    async def pages(self) -> AsyncIterator[Page]:
        """Yield pages, each fetched when it is asked for."""
        walk = self._begin()
        while not walk.done:  # bounded by MAX_PAGES in Walk.turn
            try:
                page = walk.first or await self._fetch(walk.token)
                walk.first = None
                yield page
                walk.turn(page)
            except ApiError as error:
                walk.blame(error)
                raise

    def resume_from(self, token: str | None) -> AsyncPager:
        """Return the same list from a `continuation_token` (or a page's cursor) on."""
        other = AsyncPager(self._fetch, token)
        other.verification = self.verification
        return other


class AsyncSearch(Found, AsyncPager):
    """A stored search: a pager over its events, beginning with the page that came with it."""

    __module__ = "trailseal"  # as it is imported

    def __init__(self, raw: dict[str, Any], fetch: Fetch) -> None:
        super().__init__(fetch, None, Page(raw))
        self.info = SearchInfo(raw)
