"""Whether to try again, and when: pure decisions, and the one flow that acts on them.

1. Nothing was sent (no connection): any method is tried again.
2. The server refused without doing anything (429, 503, 507): any method is tried again.
3. The outcome is unknown (broken connection, timeout, 500, 502, 504): only what is replayable,
   that is GET, PUT, DELETE, or a creating call whose event id or idempotency key was made before
   the first try.
4. The wait is full jitter, `random() * min(cap, base * 2**tries)` (AWS Architecture Blog,
   "Exponential Backoff And Jitter"), or exactly Retry-After where that is at most
   `MAX_RETRY_AFTER`; a longer one is raised at once, with `.retry_after`.
5. All calls of a client share a `Budget` of retries: in an outage, retrying stops soon, and the
   server that comes back is not drowned.
6. When tries, budget or deadline are used up, the last real error is raised, with `.attempts`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from trailseal._flow import Attempt, Flow, Request, Response, Sink
from trailseal.errors import ApiError, TransportError, from_response

if TYPE_CHECKING:
    from trailseal.hooks import Hooks

BACKOFF_BASE = 0.2  # seconds: a restarted server is often back within the second
BACKOFF_CAP = 8.0  # seconds: beyond, waiting longer helps nobody in a direct call
MAX_RETRY_AFTER = 60.0  # seconds: a call that sleeps longer looks hung
MAX_RETRIES_LIMIT = 100  # no setting may make a call endless
BUDGET = 100.0  # retries: 1,000 calls in an outage make at most 1,100 requests (D6)
REFUND = 0.1  # retries that a success gives back: at most a tenth more load in the long run
REPLAYABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
REFUSED = frozenset({429, 503, 507})  # not processed
UNKNOWN = frozenset({500, 502, 504})  # maybe processed


class Budget:
    """A token bucket: a retry takes one, a success gives a tenth back. Safe to share."""

    def __init__(self, tokens: float = BUDGET) -> None:
        self._most = self._tokens = tokens
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Budget], tuple[float]]:
        return Budget, (self._most,)  # another process has an outage of its own

    def take(self) -> bool:
        """Take a token for a retry; False if there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def refund(self) -> None:
        """Give back for a success."""
        if self._tokens < self._most:
            with self._lock:
                self._tokens = min(self._most, self._tokens + REFUND)


class Policy:
    """How a client tries again; `jitter` returns a number in [0, 1)."""

    def __init__(
        self,
        max_retries: int = 3,
        jitter: Callable[[], float] = random.random,
        budget: Budget | None = None,
        hooks: tuple[Hooks, ...] = (),
    ) -> None:
        self.max_retries, self.jitter, self.hooks = max_retries, jitter, hooks
        self.budget = budget or Budget()


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
            policy.budget.refund()
            return outcome
        error = from_response(outcome) if isinstance(outcome, Response) else outcome
        error.request_id = error.request_id or request.headers.get("Request-Id")
        if isinstance(error, TransportError) and error.expired and last:
            raise last
        error.attempts, last = tries + 1, error
        wait = (
            delay(error, tries, policy.jitter) if may_retry(error, replayable=replayable) else None
        )
        if wait is None or tries == policy.max_retries or not policy.budget.take():
            raise error
        after = wait
        if policy.hooks:
            _told(policy, request, tries + 1, after, error)
    raise last or AssertionError("a range of at least one try")


def _told(policy: Policy, request: Request, tries: int, wait: float, error: ApiError) -> None:
    from trailseal.hooks import RetryInfo, tell  # noqa: PLC0415  # few have any

    request_id = request.headers.get("Request-Id", "")
    path = request.url.partition("?")[0]  # a query may be a permission
    info = RetryInfo(request.method, path, request_id, tries, wait, error)
    tell(policy.hooks, "on_retry", info)


def _numbered(request: Request, tries: int) -> Request:
    """Tell the server which try this is, so that its log shows retries as such."""
    if tries == 0:
        return request
    headers = {**request.headers, "Retry-Attempt": str(tries)}
    return Request(request.method, request.url, request.params, headers, request.content)
