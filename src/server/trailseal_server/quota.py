"""Quotas: how many events a month a tenant may store.

Rules:
- Checked by the writer inside its transaction, once for each log, against what this process knows:
  the sum over the tenant's logs, read between two transactions and never within one, and what it
  appended since. Of a tenant not met before, a transaction asks the one log that it appends to.
- So a quota may be passed by one transaction of each process, and by what the other processes
  append to the tenant's logs in the `REMEMBER_S` between two sums. What is known is never too much.
- A tenant over its quota stores nothing, not even what it stored before: 402 `quota_exceeded`.
- A limit is remembered for `REMEMBER_S`, so that tenants without one cost nothing.
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from .failures import account
from .problems import Problem
from .store import Connection, Store, usage
from .store.logs import LogRow

REMEMBER_S = 5.0
RETRY_S = 1.0  # until sums that could not be read are asked for again: no flood in the log
MAX_REMEMBERED = 10_000  # tenants; beyond it the oldest is forgotten
_T = TypeVar("_T")
_log = logging.getLogger("trailseal.server")


@dataclass(slots=True)
class _Sum:
    """At least how many events of a month a tenant has; when to read them all again."""

    month: str
    events: int
    until: float = 0.0


class Quotas:
    """The limits of tenants and what they used, as the writer's thread knows them."""

    def __init__(self) -> None:
        self._limits: dict[str, tuple[float, int | None]] = {}
        self._sums: dict[str, _Sum] = {}
        self._added: Counter[str] = Counter()  # by the transaction, of tenants that have a limit

    def check(self, connection: Connection, log: LogRow, now: int) -> None:
        """Raises `Problem("quota_exceeded")` for a log whose tenant may store no more; `now` is in
        microseconds since 1970."""
        tenant_id = log.tenant_id
        limit = None if tenant_id is None else self._limit(connection, tenant_id)
        if tenant_id is None or limit is None:
            return
        month = usage.period(now)
        known = self._sums.get(tenant_id)
        if known is None or known.month != month:
            known = _Sum(month, usage.events_of_log(connection, log.log_id, month))
            _remember(self._sums, tenant_id, known)
        self._added[tenant_id] += 0
        if known.events >= limit:
            detail = f"The tenant may store {limit} events a month, and did so in {month}"
            raise Problem("quota_exceeded", detail)

    def add(self, log: LogRow, events: int) -> None:
        """The transaction appends events to a log that was checked."""
        if log.tenant_id is not None and log.tenant_id in self._added:
            self._added[log.tenant_id] += events

    def undo(self) -> None:
        """The transaction failed."""
        self._added.clear()

    def settle(self, store: Store) -> None:
        """The transaction was committed: count it, and read the sums that are due. Never raises:
        sums that cannot be read now stay due, and the log says so."""
        met, self._added = self._added, Counter()
        due: dict[str, set[str]] = {}
        for tenant_id, events in met.items():
            known = self._sums.get(tenant_id)
            if known is not None:
                known.events += events
                if known.until < time.monotonic():
                    due.setdefault(known.month, set()).add(tenant_id)
        for month, tenant_ids in due.items():
            try:
                with store.read() as connection:
                    found = usage.events_of_tenants(connection, tenant_ids, month)
            except Exception as error:  # noqa: BLE001  # the events are stored, whatever this was
                _log.warning("the quotas' sums cannot be read\n%s", account(error))
                for tenant_id in tenant_ids:
                    self._sums[tenant_id].until = time.monotonic() + RETRY_S
                continue
            until = time.monotonic() + REMEMBER_S
            for tenant_id in tenant_ids:
                _remember(self._sums, tenant_id, _Sum(month, found.get(tenant_id, 0), until))

    def forget(self, tenant_id: str) -> None:
        """Read this tenant's limit again: it was changed."""
        self._limits.pop(tenant_id, None)

    def _limit(self, connection: Connection, tenant_id: str) -> int | None:
        until, limit = self._limits.get(tenant_id, (0.0, None))
        if until < time.monotonic():
            limit = usage.limit(connection, tenant_id)
            _remember(self._limits, tenant_id, (time.monotonic() + REMEMBER_S, limit))
        return limit


def _remember(kept: dict[str, _T], tenant_id: str, value: _T) -> None:
    kept.pop(tenant_id, None)
    while len(kept) >= MAX_REMEMBERED:
        kept.pop(next(iter(kept)), None)
    kept[tenant_id] = value
