"""Sends what is due, and does what the answers say; driven by a thread, or by whoever waits.

1. One request at a time; each event of it is settled by its own result.
2. An event that the server cannot take now waits alone, the others flow.
3. An event is counted as delivered after its place has forgotten it. If that fails it is sent
   again, which the server knows by its id.
4. Hooks are called last, outside of all locks; what they raise is counted.
"""

from __future__ import annotations

import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from trailseal.delivery.batching import (
    PROBE,
    Item,
    Limits,
    Result,
    Send,
    Verdict,
    Waiting,
    backoff,
    due_in,
    judge,
    pause,
)
from trailseal.delivery.stats import Counters, Delivered, Dropped, Refused
from trailseal.errors import ApiError, DeliveryError, UnexpectedResponseError

MAX_DEFERRED = 500  # events that wait alone; with more the server is out of order as a whole

_sending = threading.local()


def is_sending() -> bool:
    """Tell whether this thread is sending events now: what it logs must not become an event."""
    return getattr(_sending, "on", False)


class Place(Protocol):
    """Where events lie until they are settled: memory or a spool."""

    @abstractmethod
    def waiting(self) -> Waiting:
        """What waits."""

    @abstractmethod
    def take(
        self, limits: Limits, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """The next request; its events stay until they are settled, parked or released."""

    @abstractmethod
    def settle(self, items: Collection[Item]) -> None:
        """Forget events that were delivered."""

    @abstractmethod
    def park(self, item: Item, code: str, detail: str) -> bool:
        """Put a refused event aside; False if it is lost."""

    @abstractmethod
    def release(self, items: Collection[Item]) -> None:
        """Let events that were on their way wait again."""

    @abstractmethod
    def pending(self) -> int:
        """How many events are not settled."""

    @abstractmethod
    def oldest(self) -> int | None:
        """The key of the oldest event that is not settled."""

    @abstractmethod
    def newest(self) -> int:
        """The key of the event that was accepted last."""


Notice = Callable[[str], None]


class Worker:
    """Sends from several places.

    Args:
        send: Sends one request.
        places: Where events lie now.
        counters: For `Stats`.
        notice: Told, in words, when the key is refused and when it works again; once each.
        on_delivered, on_drop: The user's hooks.
        clock: Seconds that only go forward.
        jitter: A number in [0, 1).
    """

    def __init__(
        self,
        send: Send,
        places: Callable[[], Sequence[Place]],
        counters: Counters,
        notice: Notice,
        *,
        on_delivered: Callable[[Delivered], object] | None = None,
        on_drop: Callable[[Dropped], object] | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._send, self._places, self._counters, self._notice = send, places, counters, notice
        self._on_delivered, self._on_drop = on_delivered, on_drop
        self._limits, self._clock, self._jitter = limits or Limits(), clock, jitter
        self._turns = threading.Lock()
        self._failures = 0
        self._until = 0.0  # nothing is sent before
        self._asked = False  # the server named that time
        self._logs: dict[str | None, float] = {}  # refused logs, and until when
        self._alone: dict[tuple[int, int], tuple[float, int]] = {}  # (place, key): until, tries
        self.stopped = False

    def hurry(self) -> None:
        """Somebody waits: try now, unless the server asked for a pause."""
        if not self._asked:
            self._until = 0.0

    def turn(self, *, hurry: bool) -> float | None:
        """Send what is due, one request of each place; seconds until the next look, or None."""
        with self._turns:
            _sending.on = True
            try:
                return self._turn(hurry=hurry)
            finally:
                _sending.on = False

    def _turn(self, *, hurry: bool) -> float | None:
        now, soonest = self._clock(), list[float]()
        if now < self._until:
            return self._until - now
        self._logs = {name: until for name, until in self._logs.items() if until > now}
        for place in self._places():
            try:
                soonest += self._visit(place, now, hurry=hurry)
            except DeliveryError as error:  # of the place: its disk fails
                self._wait(error)
                soonest.append(self._until - now)
        return min(soonest, default=None)

    def _visit(self, place: Place, now: float, *, hurry: bool) -> list[float]:
        """Send one request of a place if it is due; in how many seconds to look again, and why."""
        busy = {
            key: until - now
            for (owner, key), (until, _) in self._alone.items()
            if owner == id(place) and until > now
        }
        waiting = place.waiting()
        left = Waiting(waiting.events - len(busy), waiting.bytes, waiting.since)
        wait = due_in(left, now, self._limits, hurry=hurry)
        if wait is None or wait > 0:
            return [*busy.values()] if wait is None else [wait, *busy.values()]
        batch = place.take(self._limits, busy.keys(), self._logs.keys())
        if not batch:
            return [*(until - now for until in self._logs.values()), *busy.values()]
        self._deliver(place, batch)
        return [max(0.0, self._until - self._clock())]

    def _deliver(self, place: Place, batch: list[Item]) -> None:
        """Send one request, and act on what comes back; no event stays on its way."""
        try:
            results = self._send(batch)
            if len(results) != len(batch):
                self._wait(UnexpectedResponseError("There is not one result for each event."))
            elif not self.stopped:
                self._answered()
                self._settle(place, batch, results)
        except DeliveryError as error:  # of the place; what was sent is sent again
            self._wait(error)
        except ApiError as error:
            self._failed(place, batch, error)
        except Exception as error:  # noqa: BLE001  # a fault in `send` must not end the thread
            self._wait(DeliveryError(f"Sending failed: {type(error).__name__}."))
        finally:
            place.release(batch)

    def _settle(self, place: Place, batch: list[Item], results: Sequence[Result]) -> None:
        pairs = list(zip(batch, results, strict=True))
        done = [(item, result) for item, result in pairs if isinstance(result, Delivered)]
        if done:
            place.settle([item for item, _ in done])
            again = sum(result.replayed for _, result in done)
            self._counters.add(delivered=len(done), replayed=again)
            if self._on_delivered:
                for _, delivered in done:
                    self._call(self._on_delivered, delivered)
        for item, result in pairs:
            alone = id(place), item.key
            if isinstance(result, Refused) and result.retryable:
                tries = self._alone.get(alone, (0.0, 0))[1] + 1
                until = self._clock() + backoff(tries, self._jitter())
                self._alone[alone] = until, tries
                self._counters.add(retries=1)
                self._counters.last_error = result.code
            else:
                self._alone.pop(alone, None)
                if isinstance(result, Refused):
                    self._park(place, item, result.code, result.detail)
        if len(self._alone) > MAX_DEFERRED:
            self._until = min(until for until, _ in self._alone.values())

    def _failed(self, place: Place, batch: list[Item], error: ApiError) -> None:
        """Act on a request that failed as a whole."""
        verdict, detail = judge(error), str(error)
        if verdict is Verdict.REFUSE or (verdict is Verdict.SPLIT and len(batch) == 1):
            try:
                for item in batch:
                    self._park(place, item, error.code, detail)
            except DeliveryError as failure:
                self._wait(failure)
        elif verdict is Verdict.SPLIT:
            middle = len(batch) // 2
            self._deliver(place, batch[:middle])
            if not self.stopped and self._clock() >= self._until:
                self._deliver(place, batch[middle:])
        elif verdict is Verdict.HOLD:
            self._logs[batch[0].log_id] = self._clock() + PROBE
            self._refused(error)
        else:
            if verdict is Verdict.PAUSE:
                self._refused(error)
            self._wait(error)

    def _wait(self, error: ApiError) -> None:
        self._failures += 1
        self._asked = error.retry_after is not None
        wait = pause(error, self._failures, self._jitter())
        if self._counters.paused is not None:
            wait = min(wait, PROBE)
        self._until = self._clock() + wait
        self._counters.add(retries=1)
        self._counters.last_error = error.code

    def _refused(self, error: ApiError) -> None:
        """Say once that our key is refused."""
        if self._counters.paused is None:
            self._notice(f"Delivery pauses, nothing is lost: {error}")
        self._counters.paused = self._counters.last_error = error.code

    def _answered(self) -> None:
        self._failures, self._asked = 0, False
        self._counters.add(batches=1)
        self._counters.last_error = None
        if self._counters.paused is not None and not self._logs:
            self._counters.paused = None
            self._notice("Delivery goes on.")

    def _park(self, place: Place, item: Item, code: str, detail: str) -> None:
        if place.park(item, code, detail):
            self._counters.add(parked=1)
            self.drop(Dropped(item.id, code, detail, parked=True))
        else:
            self._counters.drop(code)
            self.drop(Dropped(item.id, code, detail))

    def drop(self, dropped: Dropped) -> None:
        """Tell the user's hook that an event will not be delivered; it is counted elsewhere."""
        if self._on_drop:
            self._call(self._on_drop, dropped)

    def _call(self, hook: Callable[..., object], argument: object) -> None:
        try:
            hook(argument)
        except Exception:  # noqa: BLE001  # rule 4
            self._counters.add(hook_failures=1)
