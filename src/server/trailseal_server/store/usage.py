"""What was stored, by log and month: counted in the transaction that stores it.

Rules:
- A month is UTC's, by `received_at`: `2026-11`.
- A tenant's usage is the sum over its logs. It is read by `getUsage`, and by the append for a
  tenant that has a quota: the one statement of the write path that looks beyond its log.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from . import micros
from .schema import logs, tenants, usage

COUNT = (  # for a driver: with its placeholders, takes what `counted` gives
    "INSERT INTO usage (log_id, period, events, bytes) VALUES ({}, {}, {}, {})"
    " ON CONFLICT (log_id, period) DO UPDATE SET"
    " events = usage.events + excluded.events, bytes = usage.bytes + excluded.bytes"
)
Counted = tuple[str, str, int, int]


@dataclass(frozen=True, slots=True)
class Used:
    """Events of one month, and the bytes of all months."""

    events: int
    bytes: int


def period(instant: int) -> str:
    """The month of an instant in microseconds since 1970."""
    return micros.text(instant)[:7]


def counted(log_id: str, received_at: int, sizes: list[int]) -> Counted:
    """What events that are being appended count, by their sizes in bytes."""
    return log_id, period(received_at), len(sizes), sum(sizes)


def used(connection: Connection, tenant_id: str | None, month: str) -> Used:
    """Of a tenant's logs, or of all logs for None."""
    this_month = func.sum(usage.c.events).filter(usage.c.period == month)
    statement = select(func.coalesce(this_month, 0), func.coalesce(func.sum(usage.c.bytes), 0))
    if tenant_id is not None:
        own = select(logs.c.log_id).where(logs.c.tenant_id == tenant_id)
        statement = statement.where(usage.c.log_id.in_(own))
    row = connection.execute(statement).one()
    return Used(int(row[0]), int(row[1]))


def limit(connection: Connection, tenant_id: str) -> int | None:
    """The most events a month that a tenant may store, or None."""
    statement = select(tenants.c.events_limit).where(tenants.c.tenant_id == tenant_id)
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found
