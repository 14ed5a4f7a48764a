"""Cutting any number of events into requests, and putting the results together again.

1. A batch holds at most `MAX_EVENTS` events and `MAX_BYTES` bytes; order is kept.
2. An event that is not valid, or repeats an id of its batch, never travels. Without `atomic` it
   is a failed item at its place, and the others flow; with `atomic` it raises, and nothing is
   sent at all: an atomic call is one request.
3. What was sent stays sent: an error in a later batch carries the results so far in `.result`.

`_bulk` sends the batches.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from trailseal._context import Fields, filled
from trailseal._events import EventLike, Prepared, prepare
from trailseal._flow import Flow
from trailseal._models import BatchItem
from trailseal._operations import log_batch
from trailseal.config import Settings
from trailseal.errors import (
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
        raise ConfigurationError("Several events are needed; for one event call log_event.")


class Batch:
    """The events of one request, with their places in the whole, and the refusals among them."""

    def __init__(self) -> None:
        self.events: dict[int, Prepared] = {}
        self.refused: dict[int, BatchItem] = {}
        self._ids: set[str] = set()
        self._bytes = 0

    def fits(self, event: Prepared) -> bool:
        """Tell whether one more event is within both limits."""
        size = self._bytes + len(event.content) + 1
        count = len(self.events) + len(self.refused)
        return not self.events or (count < MAX_EVENTS and size <= MAX_BYTES)

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

    def refuse(self, position: int, error: EventValidationError) -> None:
        """Note, as the server would write it, that an event is not sent."""
        problem = {
            "code": error.code,
            "message": error.args[0],
            "errors": [asdict(each) for each in error.errors],
        }
        event_id = error.errors[0].event_id if error.errors else None
        raw = {"position": position, "id": event_id, "status": "failed", "error": problem}
        self.refused[position] = BatchItem(raw)

    def send(self, settings: Settings, **options: Any) -> Flow[list[BatchItem]]:
        """Log the events; one item for each event and refusal, in the order given."""
        found = dict(self.refused)
        if self.events:
            places = list(self.events)
            contents = [event.content for event in self.events.values()]
            ids = [event.id for event in self.events.values()]
            for item in (yield from log_batch(settings, ids, contents, **options)):
                place = places[item.position]
                found[place] = BatchItem({**item.raw, "position": place})
        return [found[place] for place in sorted(found)]


class Cutter:
    """Takes events one by one, and gives back each batch that is full."""

    def __init__(self, settings: Settings, bound: Fields, *, atomic: bool = False) -> None:
        self._tenant, self._bound, self._atomic = settings.tenant, bound, atomic
        self._batch = Batch()
        self._count = 0

    def add(self, event: EventLike) -> Batch | None:
        """Take the next event; returns the batch that it no longer fits into."""
        position, self._count = self._count, self._count + 1
        full = None
        try:
            made = filled(event, self._bound)
            prepared = prepare(made, tenant=self._tenant, at=f"/events/{position}")
            if not self._batch.fits(prepared):
                if self._atomic:
                    raise BatchTooLargeError("An atomic batch must fit into one request.")
                full, self._batch = self._batch, Batch()
            self._batch.add(position, prepared)
        except EventValidationError as error:
            if self._atomic:
                raise
            if len(self._batch.refused) >= MAX_EVENTS:
                full, self._batch = self._batch, Batch()
            self._batch.refuse(position, error)
        return full

    def finish(self) -> Batch:
        """The last batch; raises `EmptyBatchError` where no event came."""
        if self._count == 0:
            raise EmptyBatchError("There is no event to log.")
        return self._batch
