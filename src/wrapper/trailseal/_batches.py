"""Cutting any number of events into requests, and putting the results together again.

1. A batch holds at most `MAX_EVENTS` events and `MAX_BYTES` bytes; order is kept.
2. An event that is not valid, or repeats an id of its batch, never travels. Without `atomic` it
   is a failed item at its place, and the others flow; with `atomic` it raises, and nothing is
   sent at all: an atomic call is one request.
3. What was sent stays sent: an error in a later batch carries the results so far in `.result`.

`_bulk` sends the batches.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trailseal import _together
from trailseal._call import Raw
from trailseal._context import Fields, filled, shared
from trailseal._events import EventLike, ready
from trailseal._flow import Flow
from trailseal._operations import log_batch
from trailseal._signing import is_local, prepare
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

TOGETHER = 500  # events of a list that are checked at once: more gain little
FEW = 25  # of them that are looked at one by one where one is not right for sure


def check_events(events: object) -> None:
    """Raise `ConfigurationError` where one event, or something else, stands for several."""
    iterable = isinstance(events, Iterable | AsyncIterable)
    if not iterable or isinstance(events, Mapping | str | bytes):
        raise ConfigurationError("Several events are needed; for one event call log_event.")


class Batch:
    """The events of one request, from one place in the whole on, and the refusals among them."""

    def __init__(self, first: int = 0) -> None:
        self.ids: dict[str, None] = {}  # in order
        self.contents: list[bytes] = []  # JSON of one event or several, with commas between
        self.refused: dict[int, Raw] = {}
        self._first = first
        self._bytes = 0

    def fits(self, content: bytes) -> bool:
        """Tell whether one more event is within both limits."""
        if not self.contents:
            return True
        return self.room > 0 and self._bytes + len(content) < MAX_BYTES

    @property
    def room(self) -> int:
        """How many more events there may be, as far as their number goes."""
        return MAX_EVENTS - len(self.ids) - len(self.refused)

    def add(self, position: int, event_id: str, content: bytes) -> None:
        """Take an event; raises `DuplicateEventInBatchError` for an id that it holds already."""
        if event_id in self.ids:
            fault = ErrorDetail(
                "duplicate_event_id", f"/events/{position}/id", "was used before", event_id
            )
            raise DuplicateEventInBatchError(
                "Two events of one batch have the same id.", errors=(fault,)
            )
        self.ids[event_id] = None
        self.contents.append(content)
        self._bytes += len(content) + 1  # the comma

    def add_together(self, ids: list[str], contents: list[bytes]) -> bool:
        """Take events that fit with no doubt and have ids of their own, else none of them."""
        size = sum(map(len, contents)) + len(contents)
        new = dict.fromkeys(ids)
        if len(new) < len(ids) or len(ids) > self.room or self._bytes + size > MAX_BYTES:
            return False
        if not self.ids.keys().isdisjoint(new):
            return False
        self.ids |= new
        self.contents += contents
        self._bytes += size
        return True

    def refuse(self, position: int, error: EventValidationError) -> None:
        """Note, as the server would write it, that an event is not sent."""
        problem = {
            "code": error.code,
            "message": error.args[0],
            "errors": [asdict(each) for each in error.errors],
        }
        event_id = error.errors[0].event_id if error.errors else None
        raw = {"position": position, "id": event_id, "status": "failed", "error": problem}
        self.refused[position] = raw

    def send(self, settings: Settings, **options: Any) -> Flow[list[Mapping[str, Any]]]:
        """Log the events; one raw item for each event and refusal, in the order given."""
        if not self.contents:
            return list(self.refused.values())
        raws = yield from log_batch(settings, list(self.ids), self.contents, **options)
        if not self._first and not self.refused:
            return [*raws]
        sent, all_raws = iter(raws), list[Mapping[str, Any]]()
        for position in range(self._first, self._first + len(raws) + len(self.refused)):
            raw = self.refused.get(position) or next(sent)
            raw["position"] = position  # in the whole, as `BatchItem` says
            all_raws.append(raw)
        return all_raws


class Cutter:
    """Takes events one by one, and gives back each batch that is full."""

    def __init__(self, settings: Settings, bound: Fields, *, atomic: bool = False) -> None:
        self._tenant, self._signer = settings.tenant, settings.signer
        self._bound, self._atomic = bound, atomic
        self.blocking = not is_local(settings.signer)  # `add` may wait for a network
        self._batch = Batch()
        self._count = 0

    def add(self, event: EventLike) -> Batch | None:
        """Take the next event; returns the batch that it no longer fits into."""
        position = self._count
        self._count = position + 1
        full = None
        try:
            made = filled(event, self._bound)
            event_id, _, content = (None if self._signer else ready(made, self._tenant)) or prepare(
                made, tenant=self._tenant, signer=self._signer, at=f"/events/{position}"
            )
            if not self._batch.fits(content):
                if self._atomic:
                    raise BatchTooLargeError("An atomic batch must fit into one request.")
                full, self._batch = self._batch, Batch(position)
            self._batch.add(position, event_id, content)
        except EventValidationError as error:
            if self._atomic:
                raise
            if len(self._batch.refused) >= MAX_EVENTS:
                full, self._batch = self._batch, Batch(position)
            self._batch.refuse(position, error)
        return full

    def add_all(self, events: Sequence[EventLike]) -> Iterator[Batch]:
        """Take the events of a list, which no other code may change meanwhile."""
        at, step = 0, TOGETHER
        while at < len(events):
            if self._batch.room <= 0 and not self._atomic:
                yield self._batch
                self._batch = Batch(self._count)
            some = events[at : at + min(step, max(self._batch.room, 1))]
            if self._added(some):
                step = min(2 * step, TOGETHER)
            elif len(some) > FEW:
                step = len(some) // 2
                continue
            else:
                for event in some:
                    if full := self.add(event):
                        yield full
            at += len(some)

    def _added(self, events: Sequence[EventLike]) -> bool:
        """Take events that are right for sure and fit, else none of them."""
        if self._signer:
            return False
        if shared(self._bound):
            events = [filled(event, self._bound) for event in events]
        found = _together.ready(events, self._tenant)
        if not found or not self._batch.add_together(*found):
            return False
        self._count += len(events)
        return True

    def finish(self) -> Batch:
        """The last batch; raises `EmptyBatchError` where no event came."""
        if self._count == 0:
            raise EmptyBatchError("There is no event to log.")
        return self._batch
