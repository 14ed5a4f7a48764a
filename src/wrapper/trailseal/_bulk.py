"""Sending any number of batches with few in memory: the only calls that run beside each other.

1. At most `concurrency` requests are under way, and twice as many batches in memory; results
   come in the order of the batches, whatever order the answers have.
2. An error ends the call: no further batch is sent, those under way are waited for, and what they
   logged is in the error's `.result`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from trailseal._batches import Batch, Cutter, check_events
from trailseal._events import EventLike
from trailseal._results import BatchItem, BatchResult
from trailseal.errors import ApiError, ConfigurationError

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_CONCURRENCY = 32  # a server's log takes one batch at a time: more would only wait there

Items = list[Mapping[str, Any]]  # raw: of `BatchItem`s
Events = Iterable[EventLike] | AsyncIterable[EventLike]


def check_concurrency(count: int) -> int:
    """Return a number of requests from 1 to `MAX_CONCURRENCY`."""
    if not isinstance(count, int) or not 1 <= count <= MAX_CONCURRENCY:
        raise ConfigurationError(f"concurrency must be 1 to {MAX_CONCURRENCY}.")
    return count


def cut(events: Iterable[EventLike], cutter: Cutter) -> Iterator[Batch]:
    """Yield batches as they fill up."""
    check_events(events)
    if type(events) is list or type(events) is tuple:
        yield from cutter.add_all(events)
    else:
        for event in events:
            if full := cutter.add(event):
                yield full
    yield cutter.finish()


async def acut(events: Events, cutter: Cutter) -> AsyncIterator[Batch]:
    """Yield batches as they fill up."""
    check_events(events)
    if isinstance(events, AsyncIterable):
        async for event in events:
            if full := (await _add(cutter, event) if cutter.blocking else cutter.add(event)):
                yield full
    elif (type(events) is list or type(events) is tuple) and not cutter.blocking:
        for batch in cutter.add_all(events):
            yield batch
    else:
        for event in events:
            if full := (await _add(cutter, event) if cutter.blocking else cutter.add(event)):
                yield full
    yield cutter.finish()


async def _add(cutter: Cutter, event: EventLike) -> Batch | None:
    import asyncio  # noqa: PLC0415  # see `_flow.arun`

    return await asyncio.to_thread(cutter.add, event)


def drive(
    batches: Iterator[Batch], send: Callable[[Batch], Items], concurrency: int
) -> Iterator[Items]:
    """Send batches and yield their results in order."""
    if check_concurrency(concurrency) == 1:
        yield from map(send, batches)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # most calls need none

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="trailseal-bulk")
    window: deque[Future[Items]] = deque()
    try:
        for batch in batches:
            window.append(pool.submit(copy_context().run, send, batch))
            if len(window) >= 2 * concurrency:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    except ApiError as error:
        pool.shutdown(cancel_futures=True)
        _keep(error, [each.result() for each in window if _went_well(each)])
        raise
    finally:
        pool.shutdown(cancel_futures=True)


async def adrive(
    batches: AsyncIterator[Batch], send: Callable[[Batch], Awaitable[Items]], concurrency: int
) -> AsyncGenerator[Items]:
    """Send batches and yield their results in order."""
    import asyncio  # noqa: PLC0415  # see `_flow.arun`

    gate = asyncio.Semaphore(check_concurrency(concurrency))
    window: deque[asyncio.Task[Items]] = deque()

    async def gated(batch: Batch) -> Items:
        async with gate:
            return await send(batch)

    try:
        async for batch in batches:
            window.append(asyncio.create_task(gated(batch)))
            if len(window) >= (2 * concurrency if concurrency > 1 else 1):
                yield await window.popleft()
        while window:
            yield await window.popleft()
    except ApiError as error:
        done = await asyncio.gather(*window, return_exceptions=True)
        _keep(error, [each for each in done if isinstance(each, list)])
        raise
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


def each(results: Iterable[Items]) -> Iterator[BatchItem]:
    """The results one by one."""
    for items in results:
        yield from map(BatchItem, items)


async def aeach(results: AsyncGenerator[Items]) -> AsyncGenerator[BatchItem]:
    """The results one by one."""
    async with aclosing(results):
        async for items in results:
            for raw in items:
                yield BatchItem(raw)


def only(events: Iterable[EventLike], cutter: Cutter) -> Batch:
    """The one batch of an atomic cutter."""
    return next(cut(events, cutter))


async def aonly(events: Events, cutter: Cutter) -> Batch:
    """The one batch of an atomic cutter."""
    return await anext(acut(events, cutter))


def collect(results: Iterable[Items]) -> BatchResult:
    """All results; an error is told what was logged before it."""
    taken: Items = []
    try:
        for items in results:
            taken += items
    except ApiError as error:
        _keep(error, [taken, [item.raw for item in error.result or ()]])
        raise
    return BatchResult(taken)


async def acollect(results: AsyncGenerator[Items]) -> BatchResult:
    """All results; an error is told what was logged before it."""
    taken: Items = []
    try:
        async with aclosing(results):
            async for items in results:
                taken += items
    except ApiError as error:
        _keep(error, [taken, [item.raw for item in error.result or ()]])
        raise
    return BatchResult(taken)


def _keep(error: ApiError, results: list[Items]) -> None:
    if kept := [item for items in results for item in items]:
        error.result = BatchResult(kept)


def _went_well(future: Future[Items]) -> bool:
    return not future.cancelled() and future.exception() is None
