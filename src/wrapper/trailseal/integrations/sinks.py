"""Events to a file or to `logging` handlers, with no server at all: `log` as of `trailseal.Audit`.

    audit = FileSink("/var/log/myapp/audit.jsonl", fsync=True)
    audit.log("invoice.deleted", actor="user_1", resource=("invoice", "inv_1"))

1. An event is checked as the SDK does, and written by the calling thread before `log` returns.
2. A line of a file is an event as `trailseal import FILE` reads it: what was written while there
   was no server can be sealed later, under the same ids.
3. What is written here is not sealed, and nothing proves that it was not changed.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, Unpack

from trailseal._audit import Delivery
from trailseal._context import filled, of_schema
from trailseal._events import EventFields, EventLike, Prepared, prepare
from trailseal._models import Receipt
from trailseal.delivery.stats import Counters, Stats
from trailseal.errors import ClosedError, ConfigurationError, DeliveryError, SpoolFullError
from trailseal.integrations.logging import AuditHandler

try:
    import fcntl
except ImportError:  # Windows: several processes need several files there
    fcntl = None  # type: ignore[assignment]

MODE = 0o600  # events hold personal data

Handlers = logging.Handler | Sequence[logging.Handler]


class Sink(ABC):
    """The calls of `trailseal.Audit`, without a server.

    Args:
        tenant: Filled into events that name none.
    """

    def __init__(self, tenant: str | None = None) -> None:
        self._tenant = tenant
        self._closed = False
        self._counters = Counters()

    def log(
        self,
        action: str,
        *,
        log_id: str | None = None,
        delivery: Delivery | None = None,
        **fields: Unpack[EventFields],
    ) -> Receipt:
        """Write that something was done; the fields are those of `Client.log`.

        The receipt's state is `written`, its index -1. `delivery` makes no difference here.

        Raises:
            EventValidationError: A field is unknown, missing or too long.
            DeliveryError: It cannot be written (`SpoolFullError`: the disk is full).
            ClosedError: After `close`.
            ConfigurationError: With `log_id`: a sink is one log.
        """
        return self.log_event({"action": action, **fields}, log_id=log_id, delivery=delivery)

    def log_event(
        self,
        event: EventLike,
        *,
        log_id: str | None = None,
        delivery: Delivery | None = None,  # noqa: ARG002  # as of Audit
    ) -> Receipt:
        """Write an event given as a mapping, which is not changed; else as `log`."""
        if log_id is not None:
            raise ConfigurationError("A sink is one log: name another at the import.")
        if self._closed:
            raise ClosedError("The sink is closed.")
        prepared = prepare(filled(event, {}), tenant=self._tenant)
        self._write(prepared)
        self._counters.add(accepted=1, delivered=1)
        return Receipt.local(prepared.id, "written")

    def emit(
        self,
        schema: str,
        data: Any,
        *,
        version: str,
        action: str | None = None,
        log_id: str | None = None,
        delivery: Delivery | None = None,
        **fields: Any,
    ) -> Receipt:
        """Write an event that names its schema; nobody checks it before the import."""
        event = of_schema(schema, version, data, action, fields)
        return self.log_event(event, log_id=log_id, delivery=delivery)

    @abstractmethod
    def _write(self, event: Prepared) -> None:
        """Write one event, or raise."""

    def start(self) -> None:  # noqa: B027  # as of Audit
        """Nothing is to be started."""

    def stats(self) -> Stats:
        """How many events were written, as `accepted` and `delivered`."""
        return self._counters.stats(accepted=0, pending=0, spool_bytes=0)

    def flush(self, timeout: float = 10.0) -> bool:  # noqa: ARG002  # as of Audit
        """Nothing waits: True."""
        return True

    def close(self, timeout: float | None = None) -> bool:  # noqa: ARG002  # as of Audit
        """Take no more events; True."""
        self._closed = True
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSink(Sink):
    """Appends events to a file, as JSON Lines.

    The file may be rotated at any time, by renaming or by truncating: it is opened again where its
    path leads to another file. Several threads, forks and processes may write to one file. A line
    that cannot be written whole is taken back; one that was cut by a crash is ended before the
    next, and `trailseal import` reports it.

    Args:
        path: The file, made with mode 0600 if it is not there; its folder must be.
        fsync: Wait for the disk at every event, so that a power cut loses none.
        tenant: Filled into events that name none.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fsync: bool = False, tenant: str | None = None
    ) -> None:
        super().__init__(tenant)
        self._path, self._fsync = Path(path), fsync
        self._lock = threading.Lock()
        self._file: int | None = None
        _files.add(self)

    def _write(self, event: Prepared) -> None:
        with self._lock:
            try:
                with self._exclusive() as (file, end):
                    try:
                        self._append(file, end, event.content + b"\n")
                    except OSError:
                        with suppress(OSError):  # a device; a disk that is gone
                            os.ftruncate(file, end)
                        raise
            except OSError as error:
                kind = SpoolFullError if error.errno == errno.ENOSPC else DeliveryError
                raise kind(f"The event cannot be written: {error.strerror}.") from error

    def _append(self, file: int, end: int, line: bytes) -> None:
        if fcntl is not None and end and os.pread(file, 1, end - 1) != b"\n":
            line = b"\n" + line
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(file, rest) :]
        if self._fsync:
            os.fsync(file)

    @contextmanager
    def _exclusive(self) -> Iterator[tuple[int, int]]:
        """The open file at our path, and its length; nobody else writes to it meanwhile."""
        while True:
            file = self._opened()
            if fcntl is None:
                yield file, os.fstat(file).st_size
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if self._is_ours(file):  # it may have been renamed while we waited
                    yield file, os.fstat(file).st_size
                    return
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _is_ours(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _opened(self) -> int:
        if self._file is not None and not self._is_ours(self._file):
            self._shut()
        if self._file is None:
            new = not self._path.exists()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._file = os.open(self._path, flags, MODE)
            if new and self._fsync and os.name == "posix":
                folder = os.open(self._path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        return self._file

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self, timeout: float | None = None) -> bool:
        """Close the file; True."""
        with self._lock:
            self._shut()
        return super().close(timeout)

    def forked(self) -> None:
        """In a child: a file of its own, so that its locks are not its parent's."""
        self._lock = threading.Lock()
        self._shut()


class HandlerSink(Sink):
    """Gives events to handlers of `logging`: a file that rotates, syslog, a socket, a queue.

    A record's text is the event as JSON; `record.audit` is the event itself. What a handler does
    with a record that it cannot write is the handler's matter: most say so on standard error, and
    go on. Where no event may be lost, use `FileSink`.

    Args:
        handlers: One, several, or a function that returns them (for configurations that must be
            picklable).
        name: The logger's name in the records.
        tenant: Filled into events that name none.

    Raises:
        ConfigurationError: They are no handlers; or one is an `AuditHandler`, which would never
            take a record of ours.
    """

    def __init__(
        self,
        handlers: Handlers | Callable[[], Handlers],
        *,
        name: str = "audit",
        tenant: str | None = None,
    ) -> None:
        super().__init__(tenant)
        found: Any = handlers() if callable(handlers) else handlers
        self._handlers = list(found) if isinstance(found, list | tuple) else [found]
        if not self._handlers or not all(isinstance(h, logging.Handler) for h in self._handlers):
            raise ConfigurationError("HandlerSink needs logging handlers, or a function of them.")
        if any(isinstance(handler, AuditHandler) for handler in self._handlers):
            raise ConfigurationError("An AuditHandler needs no sink: use trailseal.Audit.")
        self._name = name

    def _write(self, event: Prepared) -> None:
        line = event.content.decode()
        record = logging.LogRecord(self._name, logging.INFO, "", 0, line, None, None)
        record.audit = json.loads(event.content)
        for handler in self._handlers:
            handler.handle(record)  # whatever its level: an event has none

    def close(self, timeout: float | None = None) -> bool:
        """Flush and close the handlers; True."""
        if not self._closed:
            for handler in self._handlers:
                handler.flush()
                handler.close()
        return super().close(timeout)


_files: weakref.WeakSet[FileSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_files):
        sink.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
