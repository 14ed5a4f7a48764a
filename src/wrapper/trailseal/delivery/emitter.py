"""Takes events from any thread, and gives them to the worker: the life of delivery in a process.

1. The first event starts it: memory, spool, one daemon thread, a call at exit.
2. After a fork the child begins anew, and closes nothing of its parent's.
3. At the interpreter's end, and in `close`, what waits is sent for some seconds. What is left is
   counted and said; what lies in the spool is adopted by the next process with its folder.
4. Where no thread can be started (the interpreter is ending), whoever waits sends.
"""

from __future__ import annotations

import atexit
import marshal
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, cast

from trailseal._event_rules import FIELDS
from trailseal._events import EventLike, Prepared
from trailseal._ids import uuid7
from trailseal._signing import prepare
from trailseal.delivery._life import Life
from trailseal.delivery._options import Options
from trailseal.delivery.stats import Stats
from trailseal.delivery.worker import is_sending
from trailseal.errors import ClosedError, SpoolFullError

MAX_ACTION = 256  # characters, of the contract
_KNOWN = frozenset(FIELDS) | {"resource"}

_emitters: weakref.WeakSet[Emitter] = weakref.WeakSet()


class Emitter:
    """One place to give events to; see `Options`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._closed = False
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._life_ended: Life | None = None
        _emitters.add(self)

    def background(self, event: EventLike, log_id: str | None) -> str:
        """Take an event into memory; its id. Most faults are found later, by the sending thread.

        Raises `EventValidationError`, `SpoolFullError`, `ClosedError`.
        """
        life = self._life or self._start()
        made_ns: int | None = None
        data, event_id = None, event.get("id")
        signer = self._options.signer  # which may fail: then it is the caller who is told
        if signer is None and _is_plausible(event):
            try:
                data = marshal.dumps(cast("dict[str, Any]", event))
            except ValueError:
                data = None  # an Actor, a datetime: `prepare` knows them
        if data is None:
            prepared = prepare(event, tenant=self._options.tenant, signer=signer)
            event_id, data = prepared.id, prepared.content
        else:
            made_ns = time.time_ns()
            event_id = event_id or uuid7()
        began = life.memory.put(event_id, log_id, data, made_ns, time.monotonic())
        if began is None:
            began = self._squeeze(life, event_id, log_id, data, made_ns)
        if began:
            life.wake()
        return event_id

    def _squeeze(
        self, life: Life, event_id: str, log_id: str | None, data: bytes, made_ns: int | None
    ) -> bool:
        """Find room in memory by `on_full`."""
        deadline = time.monotonic() + self._options.block_timeout
        while True:
            if (
                self._options.on_full == "drop_oldest"
                and (gone := life.memory.drop_oldest()) is not None
            ):
                life.drop(gone, "full")
            elif not self._may_block(life, deadline):
                raise SpoolFullError("The queue is full: events come faster than they are sent.")
            began = life.memory.put(event_id, log_id, data, made_ns, time.monotonic())
            if began is not None:
                return began

    def durable(self, prepared: Prepared, log_id: str | None) -> None:
        """Commit an event to the spool.

        Raises `SpoolFullError`, `DeliveryError`, `ClosedError`, or `ConfigurationError` if there
        is no spool.
        """
        life = self._life or self._start()
        deadline = time.monotonic() + self._options.block_timeout
        while True:
            try:
                gone = life.open_spool().enqueue(
                    prepared.id, log_id, prepared.content, time.monotonic()
                )
                break
            except SpoolFullError:
                if not self._may_block(life, deadline):
                    raise
        life.counters.add(accepted=1)
        for event_id in gone:
            life.drop(event_id, "full")
        if life.idle:
            life.wake()

    def _may_block(self, life: Life, deadline: float) -> bool:
        """Wait for room, if that is wanted and has an end; True to try again."""
        left = deadline - time.monotonic()
        if self._options.on_full != "block" or left <= 0 or is_sending() or self._closed:
            return False
        life.hurry()
        life.wait(min(left, 0.1))
        return True

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all that was accepted before is settled; True if so.

        Settled is delivered, parked or dropped: `stats` tells them apart.
        """
        return self._life is None or self._life.flush(timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Send what waits for up to `timeout` seconds, and end; True if nothing was left."""
        with self._lock:
            self._closed, life = True, self._life
            self._life_ended, self._life = life or self._life_ended, None
        if life is None:
            return True
        atexit.unregister(self._at_exit)
        return life.end(self._options.exit_timeout if timeout is None else timeout)

    def stats(self) -> Stats:
        """The numbers of this process."""
        life = self._life or self._life_ended
        return life.stats() if life else Stats()

    def _start(self) -> Life:
        with self._lock:
            if self._closed:
                raise ClosedError("The audit object is closed.")
            if self._life is None:
                self._life = Life(self._options)
                atexit.register(self._at_exit)
                _at_exit_of_multiprocessing(self._at_exit)
            return self._life

    def drain(self, timeout: float) -> bool:
        """As `flush`, with all that ended processes left in the folder; True if it was settled."""
        return (self._life or self._start()).drain(timeout)

    def start(self) -> None:
        """Begin now, to deliver what an earlier process has left."""
        (self._life or self._start()).wake()

    def _at_exit(self) -> None:
        self.close()

    def forked(self) -> None:
        """In a child: begin anew."""
        self._lock = threading.Lock()
        life, self._life, self._life_ended = self._life, None, None
        if life is not None:
            atexit.unregister(self._at_exit)
            life.abandon()


def _is_plausible(event: EventLike) -> bool:
    """Look for the usual slips, an unknown name or no action, in less than a microsecond."""
    if type(event) is not dict or not event.keys() <= _KNOWN:
        return False
    action, event_id = event.get("action"), event.get("id")
    named = event_id is None or (type(event_id) is str and event_id != "")
    return named and type(action) is str and 0 < len(action) <= MAX_ACTION


def _at_exit_of_multiprocessing(function: Callable[[], None]) -> None:
    """Its children end without `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # noqa: PLC0415  # only in such a child

        Finalize(None, function, exitpriority=100)


def _after_fork() -> None:
    for emitter in list(_emitters):
        emitter.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
