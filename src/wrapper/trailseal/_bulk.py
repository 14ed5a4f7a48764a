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
)
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from contextvars import copy_context

from trailseal._batches import Batch, Cutter, check_events
from trailseal._events import EventLike
from trailseal._models import BatchItem, BatchResult
from trailseal.errors import ApiError, ConfigurationError

MAX_CONCURRENCY = 32  # a server's log takes one batch at a time: more would only wait there

Items = list[BatchItem]
Events = Iterable[EventLike] | AsyncIterable[EventLike]


def check_concurrency(count: int) -> int:
    """Return a number of requests from 1 to `MAX_CONCURRENCY`."""
    if not isinstance(count, int) or not 1 <= count <= MAX_CONCURRENCY:
        raise ConfigurationError(f"concurrency must be 1 to {MAX_CONCURRENCY}.")
    return count


def cut(events: Iterable[EventLike], cutter: Cutter) -> Iterator[Batch]:
    """Yield batches as they fill up."""
    check_events(events)
    for event in events:
        if full := cutter.add(event):
            yield full
    yield cutter.finish()


async def acut(events: Events, cutter: Cutter) -> AsyncIterator[Batch]:
    """Yield batches as they fill up."""
    check_events(events)
    if isinstance(events, AsyncIterable):
        async for event in events:
            if full := cutter.add(event):
                yield full
    else:
        for event in events:
            if full := cutter.add(event):
                yield full
    yield cutter.finish()


def drive(
    batches: Iterator[Batch], send: Callable[[Batch], Items], concurrency: int
) -> Iterator[BatchItem]:
    """Send batches and yield their results in order."""
    if check_concurrency(concurrency) == 1:
        for batch in batches:
            yield from send(batch)
        return
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="trailseal-bulk")
    window: deque[Future[Items]] = deque()
    try:
        for batch in batches:
            window.append(pool.submit(copy_context().run, send, batch))
            if len(window) >= 2 * concurrency:
                yield from window.popleft().result()
        while window:
            yield from window.popleft().result()
    except ApiError as error:
        pool.shutdown(cancel_futures=True)
        _keep(error, [each.result() for each in window if _went_well(each)])
        raise
    finally:
        pool.shutdown(cancel_futures=True)


async def adrive(
    batches: AsyncIterator[Batch], send: Callable[[Batch], Awaitable[Items]], concurrency: int
) -> AsyncGenerator[BatchItem]:
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
                for item in await window.popleft():
                    yield item
        while window:
            for item in await window.popleft():
                yield item
    except ApiError as error:
        done = await asyncio.gather(*window, return_exceptions=True)
        _keep(error, [each for each in done if isinstance(each, list)])
        raise
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


def only(events: Iterable[EventLike], cutter: Cutter) -> Batch:
    """The one batch of an atomic cutter."""
    return next(cut(events, cutter))


async def aonly(events: Events, cutter: Cutter) -> Batch:
    """The one batch of an atomic cutter."""
    return await anext(acut(events, cutter))


def collect(items: Iterable[BatchItem]) -> BatchResult:
    """All results; an error is told what was logged before it."""
    taken: Items = []
    try:
        taken.extend(items)
    except ApiError as error:
        _keep(error, [taken, list(error.result or ())])
        raise
    return BatchResult(taken)


async def acollect(items: AsyncGenerator[BatchItem]) -> BatchResult:
    """All results; an error is told what was logged before it."""
    taken: Items = []
    try:
        async with aclosing(items):
            async for item in items:
                taken.append(item)
    except ApiError as error:
        _keep(error, [taken, list(error.result or ())])
        raise
    return BatchResult(taken)


def _keep(error: ApiError, results: list[Items]) -> None:
    if kept := [item for items in results for item in items]:
        error.result = BatchResult(kept)


def _went_well(future: Future[Items]) -> bool:
    return not future.cancelled() and future.exception() is None
