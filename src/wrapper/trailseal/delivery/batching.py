"""What to send, when, and what an answer means: decisions without clock, thread or I/O.

1. A request holds events of one log, no id twice, and is cut by count and by bytes.
2. It is due when it is full, when its first event is `age` old, or when somebody waits for it.
3. No answer, and answers that are not the server's own, are tried again: 0.25 s, doubled up to
   60 s, of which a random half. The server's Retry-After counts, up to the same 60 s.
4. A key that is refused pauses everything; a log that is refused holds its own events. Neither
   loses any.
5. A request that the server calls wrong is halved until the wrong event is alone; that is parked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from trailseal.delivery.stats import Delivered, Refused
from trailseal.errors import (
    ApiError,
    AuthenticationError,
    BatchTooLargeError,
    EventConflictError,
    EventValidationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestError,
)

REQUEST_EVENTS = 1000  # of the contract
REQUEST_BYTES = 4 << 20  # below the contract's 10 MiB: a request is held in memory
REQUEST_AGE = 0.2  # seconds: nobody waits for less, and a busy process fills requests
BACKOFF_BASE = 0.25  # seconds: a restarted server is often back within the second
BACKOFF_CAP = 60.0  # seconds: what promise B9 allows
PROBE = 15.0  # seconds between tries of a key or a log that was refused
GONE = frozenset({"log_not_found", "tenant_not_found"})  # waiting does not make them
PROBLEM = "application/problem+json"  # what the server itself answers; proxies answer HTML


@dataclass(frozen=True, slots=True)
class Item:
    """An event on its way: its key in the place that keeps it, and the bytes that are sent."""

    key: int
    id: str
    log_id: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """When a request is full, or its events have waited long enough."""

    events: int = REQUEST_EVENTS
    bytes: int = REQUEST_BYTES
    age: float = REQUEST_AGE


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies in one place and is not on its way; `since` is when the first came (seconds)."""

    events: int = 0
    bytes: int = 0
    since: float = 0.0


Result = Delivered | Refused
Send = Callable[[Sequence[Item]], Sequence[Result]]
"""Sends the items, all of one log, in one request; returns a result for each, in their order.

Raises `ApiError` if the request as a whole failed. It blocks no longer than its own deadline.
"""


class Verdict(Enum):
    """What to do after a request failed as a whole."""

    RETRY = auto()  # nothing can be sent now
    PAUSE = auto()  # the key is refused
    HOLD = auto()  # this log is refused
    SPLIT = auto()  # an event of it may be wrong
    REFUSE = auto()  # all events of it are refused


def cut(items: Iterable[Item], limits: Limits) -> list[Item]:
    """The first items that fit into one request; at least one, if there is any."""
    batch: list[Item] = []
    ids: set[str] = set()
    size = 0
    for item in items:
        size += len(item.content) + 1
        full = len(batch) == limits.events or size > limits.bytes
        if batch and (full or item.log_id != batch[0].log_id or item.id in ids):
            break
        batch.append(item)
        ids.add(item.id)
    return batch


def of_one_log(items: Iterable[Item]) -> Iterator[Item]:
    """The items of the first one's log."""
    log_id: str | None = None
    for number, item in enumerate(items):
        log_id = log_id if number else item.log_id
        if item.log_id == log_id:
            yield item


def due_in(waiting: Waiting, now: float, limits: Limits, *, hurry: bool) -> float | None:
    """Seconds until a request is due, 0 for now; None if nothing waits."""
    if not waiting.events:
        return None
    if hurry or waiting.events >= limits.events or waiting.bytes >= limits.bytes:
        return 0.0
    return max(0.0, waiting.since + limits.age - now)


def backoff(failures: int, jitter: float) -> float:
    """Seconds to wait after `failures` failures in a row, from 1; `jitter` is in [0, 1)."""
    longest = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(failures - 1, 32))
    return longest * (1 + jitter) / 2


def pause(error: ApiError, failures: int, jitter: float) -> float:
    """Seconds to wait after this error: the server's wish, or else `backoff`."""
    if error.retry_after is not None:
        return min(error.retry_after, BACKOFF_CAP)
    return backoff(failures, jitter)


def judge(error: ApiError) -> Verdict:
    """Tell what a failed request means for its events (rules 3 to 5)."""
    headers = error.response.headers if error.response else {}
    own = headers.get("content-type", "").startswith(PROBLEM)
    if isinstance(error, BatchTooLargeError):
        return Verdict.SPLIT  # a proxy's limit, too
    if not own:
        return Verdict.RETRY
    if isinstance(error, AuthenticationError):
        return Verdict.PAUSE
    if isinstance(error, PermissionDeniedError | QuotaExceededError):
        return Verdict.HOLD
    if isinstance(error, NotFoundError) and error.code in GONE:
        return Verdict.REFUSE
    wrong = EventValidationError | EventConflictError | RequestError
    return Verdict.SPLIT if isinstance(error, wrong) else Verdict.RETRY
