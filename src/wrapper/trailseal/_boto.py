"""Paginators and waiters, for those who come from boto3: the pagers and `wait`, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from trailseal import _operations
from trailseal._flow import Flow
from trailseal._models import Event, Page
from trailseal.config import Settings
from trailseal.errors import ConfigurationError, OperationTimeoutError, TimeoutError  # noqa: A004  # its name in the contract

PAGEABLE = ("query", "search")
WAITERS = ("operation_succeeded", "event_sealed")
SEALED_PAUSE = 0.5  # seconds between two looks: a checkpoint is signed about once a second
MAX_LOOKS = 100_000


def check_pageable(name: str) -> None:
    """Raise `ConfigurationError` for a method without a paginator."""
    if name not in PAGEABLE:
        raise ConfigurationError(f"{name!r} cannot be paginated; {', '.join(PAGEABLE)} can.")


def check_waiter(name: str) -> None:
    """Raise `ConfigurationError` for an unknown waiter."""
    if name not in WAITERS:
        raise ConfigurationError(f"There is no waiter {name!r}; there are {', '.join(WAITERS)}.")


class Paginator:
    """The pages of `query` or `search`."""

    def __init__(self, client: Any, name: str) -> None:
        check_pageable(name)
        self._method = getattr(client, name)

    def paginate(
        self, *args: Any, starting_token: str | None = None, **filters: Any
    ) -> Iterator[Page]:
        """Yield pages; arguments are those of the method, `limit` is the page's size."""
        pager = self._method(*args, **filters)
        yield from (pager.resume_from(starting_token) if starting_token else pager).pages()


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


class Waiter:
    """Waits until an operation has succeeded, or an event is sealed."""

    def __init__(self, client: Any, name: str) -> None:
        check_waiter(name)
        self._client, self._name = client, name

    def wait(self, subject: Any, *, timeout: float = 600.0, **options: Any) -> Any:
        """Wait up to `timeout` seconds; `subject` is an operation (or its id), or an event's id.

        Options are those of `wait` (`on_progress`) or of `get` (`log_id`). Returns the result, or
        the sealed event.

        Raises:
            OperationTimeoutError: Not in time.
            OperationFailedError, NotFoundError: It never will.
        """
        if self._name == "operation_succeeded":
            return self._client.wait(subject, timeout=timeout, **options)
        return self._client._run(_flow(self._client, subject, options), timeout=timeout)  # noqa: SLF001  # its own part


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
        return await self._client._run(_flow(self._client, subject, options), timeout=timeout)  # noqa: SLF001  # its own part


def _flow(client: Any, event_id: str, options: dict[str, Any]) -> Flow[Event]:
    return sealed(client._settings, event_id, **options)  # noqa: SLF001  # its own part


def sealed(
    settings: Settings, event_id: str, *, log_id: str | None = None, include_proof: bool = True
) -> Flow[Event]:
    """Look until a signed checkpoint covers the event; the event, with its proof."""
    pause = 0.0
    try:
        for _ in range(MAX_LOOKS):
            event = yield from _operations.get(
                settings, event_id, log_id=log_id, include_proof=include_proof, after=pause
            )
            if event.state == "sealed":
                return event
            pause = SEALED_PAUSE
    except TimeoutError as error:
        raise OperationTimeoutError("The event was not sealed in time.") from error
    raise OperationTimeoutError("The event was not sealed.")
