"""Paginators and waiters, for those who come from boto3: the pagers and `wait`, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from trailseal._async.core import AsyncCore
from trailseal._boto import PAGEABLE, check_pageable, check_waiter, sealed
from trailseal._models import Page


class AsyncPaginator:
    """The pages of `query` or `search`."""

    def __init__(self, client: Any, name: str) -> None:
        check_pageable(name)
        self._name, self._method = name, getattr(client, name)

    async def paginate(
        self, *args: Any, starting_token: str | None = None, **filters: Any
    ) -> AsyncIterator[Page]:
        """Yield pages; arguments are those of the method, `limit` is the page's size."""
        made = self._method(*args, **filters)
        pager = await made if self._name == "search" else made
        pages = (pager.resume_from(starting_token) if starting_token else pager).pages()
        async for page in pages:
            yield page


class AsyncWaiter:
    """Waits until an operation has succeeded, or an event is sealed."""

    def __init__(self, client: Any, name: str) -> None:
        check_waiter(name)
        self._client, self._name = client, name

    async def wait(self, subject: Any, *, timeout: float = 600.0, **options: Any) -> Any:  # noqa: ASYNC109  # of the call
        """Wait up to `timeout` seconds; `subject` is an operation (or its id), or an event's id.

        Options are those of `wait` (`on_progress`) or of `get` (`log_id`). Returns the result, or
        the sealed event.

        Raises:
            OperationTimeoutError: Not in time.
            OperationFailedError, NotFoundError: It never will.
        """
        if self._name == "operation_succeeded":
            return await self._client.wait(subject, timeout=timeout, **options)
        flow = sealed(self._client._settings, subject, **options)  # noqa: SLF001  # its own part
        return await self._client._run(flow, timeout=timeout)  # noqa: SLF001  # its own part


class AsyncBoto(AsyncCore):
    """`can_paginate`, `get_paginator`, `get_waiter`."""

    def can_paginate(self, name: str) -> bool:
        """Tell whether a method has a paginator: `query` and `search` have."""
        return name in PAGEABLE

    def get_paginator(self, name: str) -> AsyncPaginator:
        """Return the paginator of a method: `.paginate(**filters)` yields pages.

        As in boto3; `query(…).pages()` is the same. Raises `ConfigurationError` for a method that
        has none.
        """
        return AsyncPaginator(self, name)

    def get_waiter(self, name: str) -> AsyncWaiter:
        """Return a waiter: `operation_succeeded` or `event_sealed`, with `.wait(id, timeout=…)`.

        Raises `ConfigurationError` for an unknown name.
        """
        return AsyncWaiter(self, name)
