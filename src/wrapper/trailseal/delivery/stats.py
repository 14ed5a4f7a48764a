"""What delivery tells: numbers, and one object for each event that ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server has stored an event at `index` of its log; `replayed`: it had it before."""

    event_id: str
    log_id: str
    index: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not store an event: its code and words; `retryable`: not now."""

    event_id: str
    code: str
    detail: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that will not be delivered.

    `reason` is a code of ours (`full`, `closed`, `invalid`, `corrupt`) or the server's. With
    `parked` it stays in the spool, where `trailseal spool` shows it and can send it again.
    """

    event_id: str
    reason: str
    detail: str = ""
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """A moment of this process's delivery.

    Always `accepted + adopted == delivered + parked + pending + sum(dropped.values())`.

    Attributes:
        accepted: Events taken by this process.
        adopted: Events of processes that ended before they could deliver, and requeued ones.
        delivered: Stored by the server; `replayed` of them had been stored before.
        pending: Still to be delivered.
        parked: Refused by the server, and kept in the spool with its reason.
        dropped: Lost, by reason.
        batches: Requests that were answered; `retries`: those that were not, or refused for now.
        hook_failures: Exceptions that `on_drop` and `on_delivered` raised.
        spool_bytes: Bytes of the events that wait in the spool.
        damaged: Spool files that were found damaged and set aside.
        paused: The server's code while it refuses our key, or None.
        last_error: What the last request failed with, or None after a success.
    """

    accepted: int = 0
    adopted: int = 0
    delivered: int = 0
    replayed: int = 0
    pending: int = 0
    parked: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    batches: int = 0
    retries: int = 0
    hook_failures: int = 0
    spool_bytes: int = 0
    damaged: int = 0
    paused: str | None = None
    last_error: str | None = None


class Counters:
    """The numbers behind `Stats`; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.paused: str | None = None
        self.last_error: str | None = None

    def add(self, **counts: int) -> None:
        """Add to the named numbers of `Stats`."""
        with self._lock:
            self._counts.update(counts)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count losses with their reason."""
        with self._lock:
            self._dropped[reason] += count

    def stats(self, *, accepted: int, pending: int, spool_bytes: int) -> Stats:
        """Everything at this moment."""
        with self._lock:
            counts = dict(self._counts)
            counts["accepted"] = counts.get("accepted", 0) + accepted
            return Stats(
                **counts,
                dropped=dict(self._dropped),
                pending=pending,
                spool_bytes=spool_bytes,
                paused=self.paused,
                last_error=self.last_error,
            )
