"""Cutting any number of events into requests, and putting the results together again.

1. A batch holds at most `MAX_EVENTS` events and `MAX_BYTES` bytes; order is kept.
2. An event that is not valid, or repeats an id of its batch, never travels. Without `atomic` it
   is a failed item at its place, and the others flow; with `atomic` it raises, and nothing is
   sent at all: an atomic call is one request.
3. What was sent stays sent: an error in a later batch carries the results so far in `.result`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from trailseal._events import EventLike, Prepared, prepare
from trailseal._flow import Flow
from trailseal._models import BatchItem, BatchResult
from trailseal._operations import log_batch
from trailseal.config import Settings
from trailseal.errors import (
    ApiError,
    BatchTooLargeError,
    ConfigurationError,
    DuplicateEventInBatchError,
    EmptyBatchError,
    ErrorDetail,
    EventValidationError,
)

MAX_EVENTS = 1000  # of the contract
MAX_BYTES = (10 << 20) - (64 << 10)  # of the contract's 10 MiB, less the envelope


def check_events(events: object) -> None:
    """Raise `ConfigurationError` where one event, or something else, stands for several."""
    iterable = isinstance(events, Iterable | AsyncIterable)
    if not iterable or isinstance(events, Mapping | str | bytes):
        raise ConfigurationError("log_bulk takes events; for one event call log_event.")


class Batch:
    """The events of one request, with their places in the whole."""

    def __init__(self) -> None:
        self.events: dict[int, Prepared] = {}
        self._ids: set[str] = set()
        self._bytes = 0

    def fits(self, event: Prepared) -> bool:
        """Tell whether one more event is within both limits."""
        size = self._bytes + len(event.content) + 1
        return not self.events or (len(self.events) < MAX_EVENTS and size <= MAX_BYTES)

    def add(self, position: int, event: Prepared) -> None:
        """Take an event; raises `DuplicateEventInBatchError` for an id that it holds already."""
        if event.id in self._ids:
            fault = ErrorDetail(
                "duplicate_event_id", f"/events/{position}/id", "was used before", event.id
            )
            raise DuplicateEventInBatchError(
                "Two events of one batch have the same id.", errors=(fault,)
            )
        self.events[position] = event
        self._ids.add(event.id)
        self._bytes += len(event.content) + 1


class Bulk:
    """One `log_bulk` call: takes events, yields a flow for each full batch, keeps the results."""

    def __init__(self, settings: Settings, *, atomic: bool, **options: Any) -> None:
        self._settings, self._atomic, self._options = settings, atomic, options
        self._batch = Batch()
        self._results: dict[int, BatchItem] = {}
        self._count = 0

    def add(self, event: EventLike) -> Iterator[Flow[None]]:
        """Take the next event; yields the flow of a batch that it no longer fits into."""
        position, self._count = self._count, self._count + 1
        try:
            prepared = prepare(event, tenant=self._settings.tenant, at=f"/events/{position}")
            if not self._batch.fits(prepared):
                if self._atomic:
                    raise BatchTooLargeError("An atomic batch must fit into one request.")
                yield self._send(self._batch)
                self._batch = Batch()
            self._batch.add(position, prepared)
        except EventValidationError as error:
            if self._atomic:
                raise
            event_id = error.errors[0].event_id if error.errors else None
            self._results[position] = _refused(position, event_id, error)

    def finish(self) -> Iterator[Flow[None]]:
        """Yield the flow of the last batch, if any."""
        if self._count == 0:
            raise EmptyBatchError("There is no event to log.")
        if self._batch.events:
            yield self._send(self._batch)

    def result(self) -> BatchResult:
        """All results so far, in the order in which the events were given."""
        return BatchResult(self._results[position] for position in sorted(self._results))

    def _send(self, batch: Batch) -> Flow[None]:
        places = list(batch.events)
        contents = [event.content for event in batch.events.values()]
        ids = [event.id for event in batch.events.values()]
        try:
            items = yield from log_batch(
                self._settings, ids, contents, atomic=self._atomic, **self._options
            )
        except ApiError as error:
            error.result = self.result()
            raise
        for item in items:
            place = places[item.position]
            self._results[place] = BatchItem({**item.raw, "position": place})


def _refused(position: int, event_id: str | None, error: EventValidationError) -> BatchItem:
    """Write a local refusal as the server would write its own."""
    problem = {
        "code": error.code,
        "message": error.args[0],
        "errors": [asdict(e) for e in error.errors],
    }
    return BatchItem({"position": position, "id": event_id, "status": "failed", "error": problem})
