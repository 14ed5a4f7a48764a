"""Quotas: how many events a month a tenant may store.

Rules:
- Checked by the writer inside its transaction, once for each log. What the transaction itself
  appends is not counted yet: a quota may be passed by one transaction, never by more.
- A tenant over its quota stores nothing, not even what it stored before: 402 `quota_exceeded`.
- A limit is remembered for `REMEMBER_S`, so that tenants without one cost nothing.
"""

import time

from .problems import Problem
from .store import Connection, usage
from .store.logs import LogRow

REMEMBER_S = 5.0
MAX_REMEMBERED = 10_000  # tenants; beyond it the oldest is forgotten


class Quotas:
    """The limits of tenants, as the writer's thread knows them."""

    def __init__(self) -> None:
        self._remembered: dict[str, tuple[float, int | None]] = {}

    def check(self, connection: Connection, log: LogRow, now: int) -> None:
        """Raises `Problem("quota_exceeded")` for a log whose tenant may store no more; `now` is in
        microseconds since 1970."""
        if log.tenant_id is None:
            return
        limit = self._limit(connection, log.tenant_id)
        if limit is None:
            return
        month = usage.period(now)
        if usage.used(connection, log.tenant_id, month).events >= limit:
            detail = f"The tenant may store {limit} events a month, and did so in {month}"
            raise Problem("quota_exceeded", detail)

    def forget(self, tenant_id: str) -> None:
        """Read this tenant's limit again: it was changed."""
        self._remembered.pop(tenant_id, None)

    def _limit(self, connection: Connection, tenant_id: str) -> int | None:
        until, limit = self._remembered.get(tenant_id, (0.0, None))
        if until < time.monotonic():
            limit = usage.limit(connection, tenant_id)
            self._remembered.pop(tenant_id, None)
            while len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)), None)
            self._remembered[tenant_id] = (time.monotonic() + REMEMBER_S, limit)
        return limit
