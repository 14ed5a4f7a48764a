"""Telling listeners of events: whatever they do, logging goes on.

1. A listener is called with `logger`, `schema_id` and `data` by keyword, as in Jupyter Events; its
   data is a copy of its own.
2. A coroutine runs in the caller's event loop, or where there is none, in one of a thread here.
3. What fails is counted and logged by the listener's name and the error's class, without data.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

MAX_WAITING = 10_000  # coroutines at once: beyond it listeners are too slow, and memory would grow

_log = logging.getLogger("trailseal")


class Listener(Protocol):
    """Called after an event was taken by all sinks; sync or async."""

    def __call__(self, *, logger: Any, schema_id: str, data: Any) -> Awaitable[object] | object:
        """Look at an event's redacted data."""


class Teller:
    """Runs listeners; `failed` is told of each failure, by one of two words."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()
        self._loop: tuple[int, asyncio.AbstractEventLoop] | None = None

    def tell(self, listener: Listener, **about: Any) -> None:
        """Call a listener; never raises."""
        try:
            answer = listener(**about)
        except Exception as error:  # noqa: BLE001  # whatever a listener does, the event is logged
            self._note(listener, error)
            return
        if not inspect.isawaitable(answer):
            return
        if len(self._tasks) + len(self._futures) >= MAX_WAITING:
            if inspect.iscoroutine(answer):
                answer.close()
            self._failed("listeners_dropped")
            return
        run = self._run(listener, answer)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            future = asyncio.run_coroutine_threadsafe(run, self._own_loop())
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
        else:
            task = loop.create_task(run)
            self._tasks.add(task)  # a loop keeps only weak references
            task.add_done_callback(self._tasks.discard)

    async def _run(self, listener: Listener, answer: Awaitable[object]) -> None:
        try:
            await answer
        except Exception as error:  # noqa: BLE001  # see above
            self._note(listener, error)

    def _note(self, listener: Listener, error: Exception) -> None:
        self._failed("listener_failures")
        name = getattr(listener, "__qualname__", type(listener).__name__)
        _log.warning("a listener failed: %s: %s", name, type(error).__name__)

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._loop[0] != os.getpid():
                loop = asyncio.new_event_loop()
                name = "trailseal-listeners"
                threading.Thread(target=_turn, args=(loop,), name=name, daemon=True).start()
                self._loop = os.getpid(), loop
            return self._loop[1]

    async def gather(self) -> None:
        """Wait for all that was begun, in this event loop and in the thread."""
        here = asyncio.get_running_loop()
        waiting: list[Any] = [task for task in self._tasks if task.get_loop() is here]
        waiting += map(asyncio.wrap_future, list(self._futures))
        await asyncio.gather(*waiting, return_exceptions=True)

    def wait(self, timeout: float) -> bool:
        """Wait for what runs in the thread; True if nothing is left."""
        return not concurrent.futures.wait(list(self._futures), timeout).not_done

    def close(self, timeout: float) -> bool:
        """Wait, then end the thread; False if something goes on, and the thread with it."""
        done = self.wait(timeout)
        with self._lock:
            if done and self._loop is not None:
                pid, loop = self._loop
                if pid == os.getpid():
                    loop.call_soon_threadsafe(loop.stop)
                self._loop = None
        return done


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
