"""The bounded queue in memory. Taking an event costs the caller microseconds: it is copied with
`marshal`, and completed, checked and encoded later, in the sending thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import NamedTuple

from trailseal.delivery.batching import REQUEST_EVENTS, Item, Limits, Waiting, cut, of_one_log
from trailseal.errors import ClosedError

MAX_EVENTS = 10_000  # about 10 MB of ordinary events
MAX_BYTES = 64 << 20  # what a library may take of a process that its server has left
FINISHED_AT_ONCE = 64  # between two looks at the lock


class Raw(NamedTuple):
    """An event as it was accepted: a copy, or content that is ready (`made_ns` is None then)."""

    key: int
    id: str
    log_id: str | None
    data: bytes
    made_ns: int | None


Finish = Callable[[Raw], Item | None]  # None: it is not valid, which was counted


class Memory:
    """A queue that hands events out in order and keeps them until they are settled."""

    def __init__(self, finish: Finish, max_events: int = MAX_EVENTS) -> None:
        self._finish, self._max_events = finish, max_events
        self._lock = threading.Lock()
        self._queue: deque[Raw] = deque()
        self._ready: dict[int, Item] = {}  # finished, in order: on their way, or waiting again
        self._sent: set[int] = set()
        self._bytes = 0
        self._since = 0.0
        self._closed = False
        self.accepted = 0  # also the newest key

    def put(
        self, event_id: str, log_id: str | None, data: bytes, made_ns: int | None, now: float
    ) -> bool | None:
        """Take an event; None if there is no room, else whether it begins or fills a request."""
        with self._lock:
            if self._closed:
                raise ClosedError("The audit object is closed.")
            count = len(self._queue)
            if count + len(self._ready) >= self._max_events or self._bytes >= MAX_BYTES:
                return None
            if not count:
                self._since = now
            self.accepted += 1
            self._bytes += len(data)
            self._queue.append(Raw(self.accepted, event_id, log_id, data, made_ns))
            return not count or count + 1 == REQUEST_EVENTS

    def drop_oldest(self) -> str | None:
        """Make room for one event: the id of the oldest that is not on its way, or None."""
        with self._lock:
            waiting = next((key for key in self._ready if key not in self._sent), None)
            if waiting is not None:
                item = self._ready.pop(waiting)
                self._bytes -= len(item.content)
                return item.id
            if not self._queue:
                return None
            raw = self._queue.popleft()
            self._bytes -= len(raw.data)
            return raw.id

    def waiting(self) -> Waiting:
        """What waits."""
        with self._lock:
            count = len(self._queue) + len(self._ready) - len(self._sent)
            since = 0.0 if len(self._ready) > len(self._sent) else self._since
            return Waiting(count, self._bytes if count else 0, since)

    def take(
        self, limits: Limits, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """The next request; its events stay until they are settled or released."""
        self._fill(limits)
        with self._lock:
            free = (
                item
                for key, item in self._ready.items()
                if key not in self._sent and key not in skip_keys and item.log_id not in skip_logs
            )
            batch = cut(of_one_log(free), limits)
            self._sent.update(item.key for item in batch)
            return batch

    def _fill(self, limits: Limits) -> None:
        """Finish events of the queue, outside of the lock."""
        while len(self._ready) - len(self._sent) < limits.events:
            with self._lock:
                raws = list(islice(self._queue, FINISHED_AT_ONCE))
                for raw in raws:
                    self._queue.popleft()
                    # Its place is kept: `oldest` and the limits count it while it is finished.
                    self._ready[raw.key] = Item(raw.key, raw.id, raw.log_id, b"")
                    self._sent.add(raw.key)
            if not raws:
                return
            for raw in raws:
                item = self._finish(raw)
                with self._lock:
                    self._sent.discard(raw.key)
                    if self._ready.pop(raw.key, None) is None:
                        continue  # cleared meanwhile
                    self._bytes -= len(raw.data)
                    if item is not None:
                        self._ready[raw.key] = item
                        self._bytes += len(item.content)

    def settle(self, items: Collection[Item]) -> None:
        """Forget events that were delivered."""
        with self._lock:
            for item in items:
                if self._ready.pop(item.key, None) is not None:
                    self._bytes -= len(item.content)
                self._sent.discard(item.key)

    def park(self, item: Item, code: str, detail: str) -> bool:  # noqa: ARG002  # as a spool's
        """Forget an event that was refused: False, there is no place to keep it."""
        self.settle([item])
        return False

    def release(self, items: Collection[Item]) -> None:
        """Let events that were on their way wait again."""
        with self._lock:
            self._sent.difference_update(item.key for item in items)

    def close(self) -> list[str]:
        """Forget everything, and take nothing more: the ids."""
        with self._lock:
            self._closed = True
            ids = [item.id for item in self._ready.values()] + [raw.id for raw in self._queue]
            self._ready.clear()
            self._sent.clear()
            self._queue.clear()
            self._bytes = 0
            return ids

    def pending(self) -> int:
        """How many events are not settled."""
        with self._lock:
            return len(self._queue) + len(self._ready)

    def oldest(self) -> int | None:
        """The key of the oldest event that is not settled."""
        with self._lock:
            first = next(iter(self._ready), None)
            return first if first is not None else self._queue[0].key if self._queue else None

    def newest(self) -> int:
        """The key of the event that was accepted last."""
        return self.accepted
