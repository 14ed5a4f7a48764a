"""Delivery in one process, from its first event to its end.

The thread looks, sends what is due, and sleeps until the next look. It is woken by the first event
after a time without any, and by whoever waits.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import marshal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from trailseal._events import prepare
from trailseal._ids import timestamp
from trailseal._words import counted
from trailseal.delivery._file import SpoolFile, check_folder
from trailseal.delivery._options import Options
from trailseal.delivery._orphans import LOOK_EVERY, Orphans
from trailseal.delivery._quiet import hush, notice, notice_damage
from trailseal.delivery.batching import Item
from trailseal.delivery.memory import Memory, Raw
from trailseal.delivery.spool import Spool
from trailseal.delivery.stats import Counters, Dropped, Stats
from trailseal.delivery.worker import Place, Worker, is_sending
from trailseal.errors import (
    ClosedError,
    ConfigurationError,
    DeliveryError,
    EventValidationError,
    SpoolFullError,
)

_log = logging.getLogger("trailseal")


class Life:
    """Delivery in one process, from its first event to its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._folder = None if options.folder is None else check_folder(options.folder)
        self.counters = Counters()
        self.memory = Memory(self._finish, options.max_events)
        self._spool: Spool | None = None
        self._orphans = Orphans(options.destination, self._open_orphan, self.counters)
        self._condition = threading.Condition()
        self._spool_lock = threading.Lock()
        self._turns = self._flushers = 0
        self._woken = self._stop = False
        self.idle = True
        self._thread: threading.Thread | None = None
        self._worker = Worker(
            options.make_send(),
            self._places,
            self.counters,
            notice,
            on_delivered=options.on_delivered,
            on_drop=options.on_drop,
            limits=options.limits,
        )
        hush()

    # ------------------------------------------------------------- accepting

    def open_spool(self) -> Spool:
        """The spool of this process, made at its first event."""
        if self._spool is None:
            folder = self._folder
            if folder is None:
                text = "Durable delivery needs a folder: pass spool=, or set TRAILSEAL_SPOOL_DIR."
                raise ConfigurationError(text)
            with self._spool_lock:
                if self._stop:
                    raise ClosedError("The audit object is closed.")
                if self._spool is None:
                    try:
                        file = SpoolFile.create(folder, self._options.destination)
                    except OSError as error:
                        text = f"The spool cannot be made: {error.strerror}."
                        raise _full_or(error, text) from error
                    try:
                        self._spool = self._opened(file, self._lost)
                    except DeliveryError:
                        file.release(remove=True)
                        raise
        return self._spool

    def _opened(self, file: SpoolFile, lost: Callable[[int], None]) -> Spool:
        return Spool(
            file,
            lost,
            max_bytes=self._options.max_bytes,
            drop_oldest=self._options.on_full == "drop_oldest",
        )

    def _finish(self, raw: Raw) -> Item | None:
        """Complete, check and encode an event of the queue."""
        if raw.made_ns is None:
            return Item(raw.key, raw.id, raw.log_id, raw.data)
        event: dict[str, Any] = marshal.loads(raw.data)  # noqa: S302  # we wrote it, in this process
        if event.get("id") is None:
            event["id"] = raw.id
            if event.get("occurred_at") is None:
                event["occurred_at"] = _time(raw.made_ns)
        try:
            content = prepare(event, tenant=self._options.tenant).content
        except EventValidationError as error:
            self.drop(raw.id, "invalid", str(error))
            return None
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end the thread
            self.drop(raw.id, "invalid", f"It could not be checked: {type(error).__name__}.")
            return None
        return Item(raw.key, raw.id, raw.log_id, content)

    def drop(self, event_id: str, reason: str, detail: str = "") -> None:
        """Count a loss, and tell the hook."""
        self.counters.drop(reason)
        self._worker.drop(Dropped(event_id, reason, detail))

    def _lost(self, count: int) -> None:
        self.counters.add(damaged=1)
        self.counters.drop("corrupt", count)
        notice_damage(count)

    def _open_orphan(self, file: SpoolFile) -> Spool:
        return self._opened(file, self._lost_of_orphan)

    def _lost_of_orphan(self, count: int) -> None:
        self.counters.add(adopted=count)
        self._lost(count)

    # ------------------------------------------------------------ delivering

    def wake(self) -> None:
        """Let the thread look, and start it if there is none."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()
        if self._thread is None:
            self._start_thread()

    def _start_thread(self) -> bool:
        with self._condition:
            if self._thread is None and not self._stop:
                thread = threading.Thread(target=self._loop, name="trailseal-delivery", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    return False
                self._thread = thread
            return self._thread is not None

    def hurry(self) -> None:
        """Try now."""
        self._worker.hurry()
        self.wake()

    def _loop(self) -> None:
        while not self._stop:
            self.idle = True  # before looking: what comes after the look wakes us
            wait = self.turn()
            self.idle = wait is None
            with self._condition:
                if not self._woken and not self._stop and wait != 0:
                    most = LOOK_EVERY if self._folder else None
                    limit = most if wait is None else min(wait, most or wait)
                    self._condition.wait(limit)
                self._woken = False

    def turn(self) -> float | None:
        """Look once; seconds until the next look."""
        if self._folder and not self._stop:
            self._orphans.look(self._folder, self._spool)
        wait = self._worker.turn(hurry=self._flushers > 0)
        if self._orphans.close_empty():
            wait = 0.0
        with self._condition:
            self._turns += 1
            self._condition.notify_all()
        return wait

    def _spools(self) -> list[Spool]:
        return [*([self._spool] if self._spool else []), *self._orphans.spools]

    def _places(self) -> Sequence[Place]:
        own = [self._spool] if self._spool else []
        return [*own, self.memory, *self._orphans.spools]

    # --------------------------------------------------------------- waiting

    def wait(self, seconds: float) -> None:
        """Wait until the thread has looked again."""
        with self._condition:
            before = self._turns
            self._condition.wait_for(lambda: self._turns != before, seconds)

    def flush(self, timeout: float) -> bool:
        """See `Emitter.flush`."""
        deadline = time.monotonic() + timeout
        own = [self._spool] if self._spool else []
        places: list[Place] = [*own, self.memory]
        marks = [(place, place.newest()) for place in places]
        with self._condition:
            self._flushers += 1
        try:
            self.hurry()
            while not all(_settled(place.oldest(), mark) for place, mark in marks):
                left = deadline - time.monotonic()
                if left <= 0 or is_sending():
                    return False
                if self._start_thread():
                    self.wait(min(left, 0.1))
                else:
                    pause = self.turn()
                    time.sleep(min(left, pause or 0.001))
        except DeliveryError:
            return False
        else:
            return True
        finally:
            with self._condition:
                self._flushers -= 1

    def drain(self, timeout: float) -> bool:
        """See `Emitter.drain`."""
        deadline, looks = time.monotonic() + timeout, self._orphans.looks
        self._orphans.look_soon()
        with self._condition:
            self._flushers += 1
        try:
            while self._orphans.looks == looks or self._orphans.spools or self._orphans.more:
                if (left := deadline - time.monotonic()) <= 0:
                    return False
                self.hurry()
                self.wait(min(left, 0.1))
        finally:
            with self._condition:
                self._flushers -= 1
        return self.flush(max(0.0, deadline - time.monotonic()))

    def end(self, timeout: float) -> bool:
        """See `Emitter.close`."""
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._condition:
            self._stop = self._worker.stopped = True
            self._condition.notify_all()
        if self._thread is not None and not is_sending():
            self._thread.join(max(0.1, deadline - time.monotonic()))
        lost = self.close_memory()
        left = self._spool.pending() if self._spool else 0
        with self._spool_lock:
            for spool in self._spools():
                spool.close()
        if lost:
            _log.warning("Closed with %s in memory, not delivered.", counted(lost, "event"))
        if left:
            text = "Closed with %s in the spool, for the next process to send."
            _log.warning(text, counted(left, "event"))
        return not lost and not left

    def close_memory(self) -> int:
        """Drop what is in memory; how many."""
        ids = self.memory.close()
        for event_id in ids:
            self.drop(event_id, "closed")
        return len(ids)

    def stats(self) -> Stats:
        """See `Emitter.stats`."""
        spools = self._spools()
        return self.counters.stats(
            accepted=self.memory.accepted,
            pending=self.memory.pending() + sum(spool.pending() for spool in spools),
            spool_bytes=sum(spool.bytes() for spool in spools),
        )

    def abandon(self) -> None:
        """In a forked child: keep what is the parent's untouched, for ever."""
        for spool in self._spools():
            for connection in spool.abandon():
                # Closing it, even at exit, could tidy the parent's files up.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _time(ns: int) -> str:
    return timestamp(datetime.fromtimestamp(ns // 1000 / 1e6, UTC))


def _settled(oldest: int | None, mark: int) -> bool:
    return oldest is None or oldest > mark


def _full_or(error: OSError, text: str) -> DeliveryError:
    return SpoolFullError(text) if error.errno == errno.ENOSPC else DeliveryError(text)
