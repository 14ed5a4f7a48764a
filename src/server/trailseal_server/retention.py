"""Retention: after a tenant's `retention_days`, events lose all but `id` and `action`.

Rules:
- Events of the tenant's logs go by `received_at`, which never goes back: from the first one that
  was not looked at (`logs.expired_size`) up to the first that is young enough. A part at a time,
  each a transaction that holds the log's lock.
- What a legal hold keeps is passed by; releasing the hold has the log looked at from its beginning.
- An event that expires is redacted (policy `retention`): it keeps its entry and the hashes of its
  fields, so that every proof holds. Its terms go.
- The janitor does this in every process, and makes the bytes of whatever was taken out go.
"""

import threading
import time
from collections.abc import Callable

from .background import Background
from .redaction import Path, Reason
from .removals import locked, remove, subjects
from .store import Store, micros, purge, reads, retained, selections
from .store.records import RETENTION

CHUNK = 200  # events in one transaction: some tenths of a second of the log's lock
LOOK_S = 60.0  # between looks for events whose time is over
DAY = 86_400 * 1_000_000  # microseconds


class Janitor(Background):
    """Removes what is due, in a thread of its own; `start` and `stop` it."""

    def __init__(self, store: Store, clock: Callable[[], int] = micros.now) -> None:
        super().__init__("janitor", LOOK_S)
        self._store = store
        self._clock = clock
        self._removed = threading.Event()
        self._swept = -LOOK_S

    def removed(self) -> None:
        """Something was taken out of an event: its bytes must go."""
        self._removed.set()
        self.wake()

    def sweep(self) -> int:
        """Expire all events whose time is over; how many."""
        expired = 0
        for log_id, days in self._due():
            while not self._stopping.is_set():
                found = expire(self._store, log_id, self._clock() - days * DAY)
                if found is None:
                    break
                expired += found
        if expired:
            self.removed()
        return expired

    def compact(self) -> None:
        """Make the bytes of what was removed go, if something was; later, if that cannot be."""
        if self._removed.is_set():
            self._removed.clear()
            if not purge.compact(self._store):
                self._removed.set()

    def _due(self) -> list[tuple[str, int]]:
        with self._store.read() as connection:
            return retained.bounded(connection)

    def _round(self) -> bool:
        if time.monotonic() - self._swept >= LOOK_S:
            self._swept = time.monotonic()
            self._attempt(self.sweep, "a sweep")
        self.compact()
        return False


def expire(store: Store, log_id: str, before: int) -> int | None:
    """Expire the next of a log's events received before an instant (µs); how many were looked at,
    or None if there are none."""
    with store.read() as connection:
        log = selections.find_log(connection, log_id)
        if log.expired_size >= selections.first_since(connection, log, before):
            return None
    with store.write() as connection:
        log, held = locked(connection, log_id)
        low, end = log.expired_size, selections.first_since(connection, log, before)
        high = min(low + CHUNK, end)
        if held.whole or low >= high:
            return None
        rows = reads.rows_at(connection, log_id, range(low, high))
        due = [(row, _everything) for row in rows if not held.holds(subjects(row))]
        remove(connection, log, due, Reason(RETENTION, "retention"))
        retained.looked_at(connection, log_id, high)
    return high - low


def _everything(_path: Path, _value: bytes) -> bool:
    return True
