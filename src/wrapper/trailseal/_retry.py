"""Whether to try again, and when: pure decisions, and the one flow that acts on them.

1. Nothing was sent (no connection): any method is tried again.
2. The server refused without doing anything (429, 503): any method is tried again.
3. The outcome is unknown (broken connection, timeout, 500, 502, 504): only what is replayable,
   that is GET, PUT, DELETE, or a creating call whose event id or idempotency key was made before
   the first try.
4. The wait is full jitter, `random() * min(cap, base * 2**tries)` (AWS Architecture Blog,
   "Exponential Backoff And Jitter"), or exactly Retry-After where that is at most
   `MAX_RETRY_AFTER`; a longer one is raised at once, with `.retry_after`.
5. When tries or deadline are used up, the last real error is raised.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from trailseal._flow import Attempt, Flow, Request, Response, Sink
from trailseal.errors import ApiError, TransportError, from_response

BACKOFF_BASE = 0.2  # seconds: a restarted server is often back within the second
BACKOFF_CAP = 8.0  # seconds: beyond, waiting longer helps nobody in a direct call
MAX_RETRY_AFTER = 60.0  # seconds: a call that sleeps longer looks hung
MAX_RETRIES_LIMIT = 100  # no setting may make a call endless
REPLAYABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
REFUSED = frozenset({429, 503})  # not processed
UNKNOWN = frozenset({500, 502, 504})  # maybe processed


@dataclass(frozen=True, slots=True)
class Policy:
    """How a client tries again; `jitter` returns a number in [0, 1)."""

    max_retries: int = 3
    jitter: Callable[[], float] = random.random


def may_retry(error: ApiError, *, replayable: bool) -> bool:
    """Tell whether trying again is allowed and can help (rules 1 to 3)."""
    if isinstance(error, TransportError):
        return not error.expired and (replayable or not error.sent)
    if error.status in REFUSED:
        return True
    return error.status in UNKNOWN and error.retryable and replayable


def delay(error: ApiError, tries: int, jitter: Callable[[], float]) -> float | None:
    """Seconds to wait after `tries` tries (from 0), or None where the server asks for too long."""
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= MAX_RETRY_AFTER else None
    doubled = BACKOFF_BASE * 2.0 ** min(tries, 64)  # above any cap, and never an OverflowError
    return jitter() * min(BACKOFF_CAP, doubled)


def attempts(
    request: Request,
    policy: Policy,
    *,
    replayable: bool | None = None,
    sink: Sink | None = None,
    after: float = 0.0,
) -> Flow[Response]:
    """Send a request, again where that is right; return a 2xx answer or raise.

    `after` is how many seconds the first try waits.
    """
    if replayable is None:
        replayable = request.method in REPLAYABLE_METHODS
    last: ApiError | None = None
    for tries in range(min(policy.max_retries, MAX_RETRIES_LIMIT) + 1):
        outcome = yield Attempt(_numbered(request, tries), after, sink)
        if isinstance(outcome, Response) and 200 <= outcome.status <= 299:
            return outcome
        error = from_response(outcome) if isinstance(outcome, Response) else outcome
        error.request_id = error.request_id or request.headers.get("Request-Id")
        if isinstance(error, TransportError) and error.expired:
            raise last or error
        last = error
        wait = (
            delay(error, tries, policy.jitter) if may_retry(error, replayable=replayable) else None
        )
        if wait is None:
            raise error
        after = wait
    raise last or AssertionError("a range of at least one try")


def _numbered(request: Request, tries: int) -> Request:
    """Tell the server which try this is, so that its log shows retries as such."""
    if tries == 0:
        return request
    return replace(request, headers={**request.headers, "Retry-Attempt": str(tries)})
