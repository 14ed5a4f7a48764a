"""Logging many events: in requests one after the other, later, or as a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any

from trailseal import _operations, config
from trailseal._async.core import AsyncCore
from trailseal._batches import Batch, Cutter, check_events
from trailseal._bulk import Items, acollect, acut, adrive, aeach, aonly
from trailseal._events import EventLike
from trailseal._models import Operation
from trailseal._results import BatchItem, BatchResult


class AsyncBulk(AsyncCore):
    """`log_bulk`, `log_bulk_iter`, `log_bulk_async`, `log_stream`, `upload`."""

    async def log_bulk(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        atomic: bool = False,
        concurrency: int = 1,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> BatchResult:
        """Log any number of events, in requests of at most 1,000 events and 10 MiB.

        Results are in the order given. Without `atomic`, an event that is not valid is a failed
        item, and the others are logged: look at `.failed`, or call `.raise_for_failures()`. With
        `atomic`, all are logged or none; they must fit into one request.

        `concurrency` (1-32) is how many requests may be under way. With 1 the events lie in the
        log in the order given; with more that order may differ. Events are taken as they are
        sent, results kept: for millions use `log_bulk_iter`, or `upload`. `imported` marks events
        of another system's archive, for good.

        Raises:
            ConfigurationError: `events` is one event, or nothing that can be iterated.
            EmptyBatchError: There is no event.
            EventValidationError, BatchTooLargeError: With `atomic`; nothing was logged.
            TrailSealError: A request failed; `.result` holds what was logged before it.
        """
        batches = acut(events, Cutter(self._settings, self._bound, atomic=atomic))
        send = self._sender(
            atomic=atomic,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await acollect(adrive(batches, send, concurrency))

    async def log_bulk_iter(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        concurrency: int = 1,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> AsyncIterator[BatchItem]:
        """Log any number of events in constant memory: yields the results, in the order given.

        Events are logged as the results are taken: iterate it to its end. Else as `log_bulk`;
        an error's `.result` holds what was logged and not yet yielded.
        """
        batches = acut(events, Cutter(self._settings, self._bound))
        send = self._sender(
            atomic=False,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        async with aclosing(aeach(adrive(batches, send, concurrency))) as items:
            async for item in items:
                yield item

    def _sender(self, **options: Any) -> Callable[[Batch], Awaitable[Items]]:
        async def send(batch: Batch) -> Items:
            return await self._run(batch.send(self._settings, **options))

        return send

    async def log_bulk_async(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        atomic: bool = False,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> Operation:
        """Hand over at most 1,000 events and 10 MiB, which the server logs later.

        Give the operation to `wait` or `poll_result` for the `BatchResult`. For more events use
        `upload`.

        Raises:
            EventValidationError, BatchTooLargeError, EmptyBatchError: Before any I/O.
        """
        batch = await aonly(events, Cutter(self._settings, self._bound, atomic=True))
        flow = _operations.log_batch_async(
            self._settings,
            batch.contents,
            atomic=atomic,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await self._run(flow)

    async def log_stream(
        self,
        source: str,
        payload: Any,
        *,
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
    ) -> BatchResult:
        """Log another vendor's payload: `auth0 github cloudtrail generic`, at most 1,000 records.

        `payload` is JSON as Python values, or its bytes as they came. The server maps each record
        to an event and keeps it under `data`; records with an id of their own are logged once.

        Raises:
            ConfigurationError: The payload is no JSON.
            EmptyBatchError, BatchTooLargeError: No record, or more than 1,000.
        """
        flow = _operations.log_stream(
            self._settings,
            source,
            payload,
            log_id=log_id,
            channel=channel,
            external_id=external_id,
            imported=imported,
        )
        return await self._run(flow)

    async def upload(
        self,
        events: Iterable[EventLike] | AsyncIterable[EventLike],
        *,
        compression: str = "none",
        log_id: str | None = None,
        channel: str | None = None,
        external_id: str | None = None,
        imported: bool = False,
        timeout: float = 900.0,  # noqa: ASYNC109  # the deadline of this call
    ) -> Operation:
        """Send up to 1 GiB of events as one file, which the server logs later; memory stays flat.

        All events are checked and written to a temporary file first: nothing is sent if one is
        not valid. `compression` is `none` or `gzip`; `timeout` is for sending, in seconds. Give
        the operation to `wait`: its `BatchResult` holds the events that failed, and all counts.

        Raises:
            EventValidationError, EmptyBatchError, BatchTooLargeError: Before any I/O.
            UploadExpiredError: The server's permission ended, twice, before the file arrived.
        """
        from trailseal import _uploads  # noqa: PLC0415  # few need it

        check_events(events)
        with _uploads.EventFile(self._settings, self._bound, compression) as file:
            if isinstance(events, AsyncIterable):
                async for event in events:
                    await asyncio.to_thread(file.add, event) if file.blocking else file.add(event)
            else:
                for event in events:
                    await asyncio.to_thread(file.add, event) if file.blocking else file.add(event)
            file.finish()
            flow = _uploads.upload(
                self._settings,
                file,
                log_id=log_id,
                channel=channel,
                external_id=external_id,
                imported=imported,
            )
            return await self._run(flow, timeout=config.check_timeout(timeout))
