"""Sends the rows of an outbox: the worker of background delivery, with a table as its place."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, Self

from trailseal._audit import Audit
from trailseal.client import Client
from trailseal.delivery import Delivered, Dropped, Item, Limits, Stats
from trailseal.delivery.batching import Waiting, cut, of_one_log
from trailseal.delivery.stats import Counters
from trailseal.delivery.worker import MAX_DEFERRED, Place, Worker
from trailseal.errors import ConfigurationError
from trailseal.integrations.outbox._rows import MAX_CODE, MAX_DETAIL

POLL = 1.0  # seconds between looks at an empty table
STOP_TIMEOUT = 35.0  # seconds: a request under way ends within the client's own 30

_log = logging.getLogger("trailseal")


class Rows(Protocol):
    """An outbox's table, as a relay needs it; every call may raise `DeliveryError`."""

    @abstractmethod
    def count(self, most: int) -> int:
        """How many rows wait, up to `most`: no count of a million rows every second."""

    @abstractmethod
    def select(
        self, limit: int, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """The oldest rows, locked until `end` where the database can, without those locked."""

    @abstractmethod
    def delete(self, keys: Collection[int]) -> None:
        """Delete rows; committed when this returns."""

    @abstractmethod
    def park(self, key: int, code: str, detail: str) -> None:
        """Put a row aside; committed when this returns."""

    @abstractmethod
    def end(self) -> None:
        """End the transaction that `select` began, if it goes on."""

    @abstractmethod
    def requeue(self) -> int:
        """Let all parked rows wait again; how many."""

    @abstractmethod
    def parked(self) -> Sequence[tuple[str, str, str]]:
        """Id, code and detail of the parked rows, at most 1,000."""


class _RowsPlace(Place):
    """Rows as a place of delivery."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def waiting(self) -> Waiting:
        return Waiting(self._rows.count(Limits().events + MAX_DEFERRED))

    def take(
        self, limits: Limits, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        found = self._rows.select(limits.events, skip_keys, skip_logs)
        batch = cut(of_one_log(found), limits)
        if not batch:
            self._rows.end()
        return batch

    def settle(self, items: Collection[Item]) -> None:
        self._rows.delete([item.key for item in items])

    def park(self, item: Item, code: str, detail: str) -> bool:
        self._rows.park(item.key, code[:MAX_CODE], detail[:MAX_DETAIL])
        return True

    def release(self, items: Collection[Item]) -> None:  # noqa: ARG002  # a row's lock is its mark
        self._rows.end()

    def pending(self) -> int:
        return self._rows.count(Limits().events + MAX_DEFERRED)

    def oldest(self) -> int | None:
        return None  # nobody flushes an outbox

    def newest(self) -> int:
        return 0


class Relay:
    """Sends what lies in an outbox.

    Args:
        client: Whose server and key are used.
        rows: The table.
        poll: Seconds between looks at an empty table.
        on_delivered, on_drop: Called with `Delivered`, and with `Dropped` for what was parked.

    Raises:
        ConfigurationError: The client is disabled: nothing would be sent.
    """

    __module__ = "trailseal.integrations.outbox"  # as it is imported

    def __init__(
        self,
        client: Client,
        rows: Rows,
        *,
        poll: float = POLL,
        on_delivered: Callable[[Delivered], object] | None = None,
        on_drop: Callable[[Dropped], object] | None = None,
    ) -> None:
        # It gives us a `send` with connections of its own; nothing of it is started.
        self._audit = Audit(client, delivery="confirmed")
        if self._audit._settings.disabled:  # noqa: SLF001  # same package
            raise ConfigurationError("TrailSeal is disabled: a relay would send nothing.")
        self._rows, self._poll = rows, poll
        self._counters, self._notices = Counters(), list[str]()
        self._worker = Worker(
            self._audit._make_send(),  # noqa: SLF001  # same package
            lambda: [self._place],
            self._counters,
            self._notices.append,
            on_delivered=on_delivered,
            on_drop=on_drop,
        )
        self._place = _RowsPlace(rows)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Send what comes, until `stop`; what fails is tried again after up to 60 s."""
        while not self._stopping.is_set():
            wait = self._turn()
            self._stopping.wait(self._poll if wait is None else min(wait, self._poll))

    def run_once(self) -> bool:
        """Send what is there now; True if nothing is left, False if something must wait."""
        wait: float | None = 0.0
        while wait == 0.0 and not self._stopping.is_set():
            wait = self._turn()
        return self._rows.count(1) == 0

    def _turn(self) -> float | None:
        wait = self._worker.turn(hurry=True)
        while self._notices:  # not while sending: what is logged then is kept from handlers
            _log.warning("%s", self._notices.pop(0))
        return wait

    def start(self) -> None:
        """Run in a thread of its own, a daemon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, name="trailseal-relay", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the request under way; a signal handler may call it."""
        self._stopping.set()

    def close(self, timeout: float = STOP_TIMEOUT) -> None:
        """Stop, wait up to `timeout` seconds for the thread, and close the connections."""
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout)
        self._audit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> Stats:
        """The numbers of this relay; `pending` is counted up to 1,500."""
        return self._counters.stats(accepted=0, pending=self._place.pending(), spool_bytes=0)
