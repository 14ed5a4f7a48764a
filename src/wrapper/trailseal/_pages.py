"""Lists that come in pages: by item, by page, and on from a token.

1. The server fixes the tree size at the first page, so pages repeat nothing and miss nothing
   while others write.
2. An empty page with a cursor is not the end; only a missing `next_cursor` is.
3. A cursor that comes back a second time would be an endless loop: it is an error.
4. A page that cannot be had raises with `.continuation_token`; `resume_from(token)` goes on there.
   Items of pages before it were all handed out; none of that page was.

Iterating a pager again starts again. `AsyncPager` is the same with `async for`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from trailseal._models import Checkpoint, Page
from trailseal._view import View, maybe, object_of, required, timestamp
from trailseal.errors import ApiError, InvalidPageError

if TYPE_CHECKING:
    from trailseal._verifying import Verification

MAX_PAGES = 1_000_000  # a billion events at 1,000 a page: beyond, make an export


class Walk:
    """Where an iteration is; decides what comes next, fetches nothing."""

    def __init__(self, token: str | None, first: Page | None) -> None:
        self.token = token
        self.first = first if token is None else None
        self.done = False
        self._seen = {token}

    def turn(self, page: Page) -> None:
        """Go behind a page; raises `InvalidPageError` for a cursor that came before."""
        self.token, self.done = page.next_cursor, page.next_cursor is None
        if not self.done and (self.token in self._seen or len(self._seen) > MAX_PAGES):
            raise InvalidPageError("The server repeats a cursor: the list would never end.")
        self._seen.add(self.token)

    def blame(self, error: ApiError) -> None:
        """Tell an error where to go on."""
        error.continuation_token = self.token


class Pages:
    """What `Pager` and `AsyncPager` know: where to begin, and where the last iteration is."""

    verification: Verification | None = None  # with `verify=True`: what was checked so far

    def __init__(self, token: str | None = None, first: Page | None = None) -> None:
        self._start, self._first = token, first
        self._walk = Walk(token, first)

    @property
    def continuation_token(self) -> str | None:
        """The cursor of the last iteration's next page; None before the first and at the end."""
        return self._walk.token

    @property
    def first_page(self) -> Page | None:
        """The page that came with a search; None of any other list."""
        return self._first

    def _begin(self) -> Walk:
        self._walk = Walk(self._start, self._first)
        return self._walk


class SearchInfo(View):
    """What the server says of a stored search."""

    _shown = ("search_id", "count", "expires_at")
    id = required(str, "search_id")
    log_id = required(str)
    count = required(int)
    count_exact = required(bool)
    expires_at = timestamp()
    checkpoint = maybe(object_of(Checkpoint))


class Found:
    """The members of a stored search, for both `Search` and `AsyncSearch`."""

    info: SearchInfo

    @property
    def id(self) -> str:
        """The search's id, for `results` and `download_results`."""
        return self.info.id

    @property
    def count(self) -> int:
        """Results in all, up to `max_results`."""
        return self.info.count

    @property
    def count_exact(self) -> bool:
        """False if more events match than `count`."""
        return self.info.count_exact

    @property
    def expires_at(self) -> datetime | None:
        """When the stored search ends."""
        return self.info.expires_at

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The latest checkpoint when the search was made; None before the first."""
        return self.info.checkpoint

    def __repr__(self) -> str:
        return repr(self.info).replace("SearchInfo", type(self).__name__)
