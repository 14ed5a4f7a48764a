"""Delivery in one process, from its first event to its end.

The thread looks, sends what is due, and sleeps until the next look. It is woken by the first event
after a time without any, and by whoever waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import marshal
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from trailseal._events import prepare
from trailseal._ids import timestamp
from trailseal._signer import Signer
from trailseal._words import counted
from trailseal.delivery._file import SpoolFile, check_folder, spool_files
from trailseal.delivery.batching import Item, Limits, Send
from trailseal.delivery.memory import MAX_EVENTS, Memory, Raw
from trailseal.delivery.spool import MAX_BYTES, Spool
from trailseal.delivery.stats import Counters, Delivered, Dropped, Stats
from trailseal.delivery.worker import Place, Worker, is_sending
from trailseal.errors import (
    ClosedError,
    ConfigurationError,
    DeliveryError,
    EventValidationError,
    SpoolFullError,
)

EXIT_TIMEOUT = 5.0  # seconds for what waits at exit: service managers kill after 10 or more
BLOCK_TIMEOUT = 30.0  # seconds that `on_full="block"` waits: longer looks hung
LOOK_EVERY = 30.0  # seconds between looks for orphans
MAX_ADOPTED = 16  # files at a time: each holds three handles
# Loggers that send callables use. See rule 5 of the package: the sending thread never logs.
QUIET = ("trailseal", "httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "proxy")))

OnFull = Literal["raise", "block", "drop_oldest"]

_log = logging.getLogger("trailseal")


@dataclass(frozen=True, slots=True)
class Options:
    """How delivery works.

    Attributes:
        make_send: Makes the callable that sends; called once in each process.
        destination: Whither events go: spool files of another destination are left alone.
        tenant: Filled into events that name none.
        signer: Signs events, in the thread that logs them.
        folder: Of the spool, looked at when delivery starts; None without one.
        on_full: What happens to an event for which there is no room.
        max_events: Of the queue in memory.
        max_bytes: Of the spool.
        block_timeout, exit_timeout: Seconds.
    """

    make_send: Callable[[], Send]
    destination: str
    tenant: str | None = None
    signer: Signer | None = None
    folder: str | os.PathLike[str] | None = None
    on_full: OnFull = "raise"
    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    block_timeout: float = BLOCK_TIMEOUT
    exit_timeout: float = EXIT_TIMEOUT
    limits: Limits = field(default_factory=Limits)
    on_delivered: Callable[[Delivered], object] | None = None
    on_drop: Callable[[Dropped], object] | None = None


class Life:
    """Delivery in one process, from its first event to its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._folder = None if options.folder is None else check_folder(options.folder)
        self.counters = Counters()
        self.memory = Memory(self._finish, options.max_events)
        self._spool: Spool | None = None
        self._adopted: list[Spool] = []
        self._seen: dict[Path, int] = {}  # orphans without waiting events, by their last change
        self._look_at, self._looks, self._more = 0.0, 0, False
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
            self._notice,
            on_delivered=options.on_delivered,
            on_drop=options.on_drop,
            limits=options.limits,
        )
        for name in QUIET:
            _hush(logging.getLogger(name))

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
        self._notice(f"A spool was damaged and set aside; lost: {counted(count, 'event')}.")

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
        self._look_for_orphans()
        wait = self._worker.turn(hurry=self._flushers > 0)
        for spool in [each for each in self._adopted if not each.pending()]:
            self._adopted.remove(spool)
            with contextlib.suppress(OSError):  # of its folder; another process finds it again
                spool.close()
        if self._more and not self._adopted:
            self._look_at, wait = 0.0, 0.0  # there are more files than may be open at a time
        with self._condition:
            self._turns += 1
            self._condition.notify_all()
        return wait

    def _places(self) -> Sequence[Place]:
        own = [self._spool] if self._spool else []
        return [*own, self.memory, *self._adopted]

    def _look_for_orphans(self) -> None:
        folder, now = self._folder, time.monotonic()
        if folder is None or now < self._look_at or self._stop:
            return
        self._look_at = now + LOOK_EVERY
        try:
            if self._spool:
                self.counters.add(adopted=self._spool.refresh())
            self._more = False
            for path in spool_files(folder, self._options.destination):
                changed = path.stat().st_mtime_ns
                if self._seen.get(path) == changed or self._owns(path):
                    continue
                if len(self._adopted) >= MAX_ADOPTED:
                    self._more = True
                    break
                if (file := SpoolFile.claim(path)) is not None:
                    self._adopt(file)
                    self._seen[path] = changed
        except (OSError, DeliveryError) as error:
            self.counters.last_error = type(error).__name__
        self._looks += 1

    def _owns(self, path: Path) -> bool:
        return any(spool.path == path for spool in (self._spool, *self._adopted) if spool)

    def _adopt(self, file: SpoolFile) -> None:
        try:
            spool = self._opened(file, self._lost_of_orphan)
        except DeliveryError:
            file.release(remove=False)
            raise
        self.counters.add(adopted=spool.pending())
        if spool.pending():
            self._adopted.append(spool)
        else:
            spool.close()

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
        deadline, looks = time.monotonic() + timeout, self._looks
        self._look_at = 0.0
        with self._condition:
            self._flushers += 1
        try:
            while self._looks == looks or self._adopted or self._more:
                if self._more and not self._adopted:
                    self._look_at = 0.0
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
            for spool in (*([self._spool] if self._spool else []), *self._adopted):
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
        spools = [*([self._spool] if self._spool else []), *self._adopted]
        return self.counters.stats(
            accepted=self.memory.accepted,
            pending=self.memory.pending() + sum(spool.pending() for spool in spools),
            spool_bytes=sum(spool.bytes() for spool in spools),
        )

    def abandon(self) -> None:
        """In a forked child: keep what is the parent's untouched, for ever."""
        for spool in (*([self._spool] if self._spool else []), *self._adopted):
            for connection in spool.abandon():
                # Closing it, even at exit, could tidy the parent's files up.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def _notice(self, text: str) -> None:
        """Log from another thread: the application may hold logging's lock, and wait for us."""
        try:
            threading.Thread(target=_log.warning, args=("%s", text), daemon=True).start()
        except RuntimeError:  # the interpreter is ending
            _log.warning("%s", text)


def _time(ns: int) -> str:
    return timestamp(datetime.fromtimestamp(ns // 1000 / 1e6, UTC))


def _settled(oldest: int | None, mark: int) -> bool:
    return oldest is None or oldest > mark


def _full_or(error: OSError, text: str) -> DeliveryError:
    return SpoolFullError(text) if error.errno == errno.ENOSPC else DeliveryError(text)


def _hush(logger: logging.Logger) -> None:
    """Switch a logger off in the sending thread.

    A filter would come too late: the question whether a logger is on may take logging's module
    lock, and `dictConfig` holds that while it closes handlers, which wait for us.
    """
    if "isEnabledFor" not in vars(logger):
        enabled = logger.isEnabledFor
        vars(logger)["isEnabledFor"] = lambda level: not is_sending() and enabled(level)
