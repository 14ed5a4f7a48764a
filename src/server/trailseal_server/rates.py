"""How many requests an API key may send: a token bucket for each key, in this process.

Rules:
- A key has `rate` requests a second, and may save up `BURST_S` seconds' worth of them. Beyond that
  it is 429 `rate_limited`, with `Retry-After`: a request that is refused costs no token.
- A server of several processes allows each of them that rate. 0 is no limit.
- What a bucket holds is computed when it is looked at (no timer); one that is full is forgotten.
"""

import time
from collections.abc import Callable

from .problems import Problem

BURST_S = 2.0
MAX_BUCKETS = 10_000  # keys; the one that was used longest ago is forgotten, as if it were full


class Rates:
    """The buckets of this process; used on the event loop only, so there is no lock."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when

    def take(self, key_id: str) -> None:
        """Count a request; raises `Problem("rate_limited")` with `retry_after` in seconds."""
        if self._rate == 0:
            return
        now, most = self._clock(), self._rate * BURST_S
        left, at = self._buckets.pop(key_id, (most, now))
        left = min(most, left + (now - at) * self._rate)
        self._buckets[key_id] = (max(0.0, left - 1) if left >= 1 else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        if left < 1:
            wait = (1 - left) / self._rate
            detail = f"The key may send {self._rate} requests a second; wait and send it again"
            raise Problem("rate_limited", detail, retry_after=wait)
