"""What was stored, by log and month: counted in the transaction that stores it.

Rules:
- A month is UTC's, by `received_at`: `2026-11`.
- A tenant's usage is the sum over its logs, for `getUsage` and quotas; no append reads it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from . import micros
from .schema import directory, tenants, usage

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
        own = select(directory.c.log_id).where(directory.c.tenant_id == tenant_id)
        statement = statement.where(usage.c.log_id.in_(own))
    row = connection.execute(statement).one()
    return Used(int(row[0]), int(row[1]))


def events_of_log(connection: Connection, log_id: str, month: str) -> int:
    """How many events of a month one log has."""
    mine = (usage.c.log_id == log_id) & (usage.c.period == month)
    return connection.execute(select(usage.c.events).where(mine)).scalar_one_or_none() or 0


def events_of_tenants(
    connection: Connection, tenant_ids: Collection[str], month: str
) -> dict[str, int]:
    """How many events of a month the logs of each tenant have; who has none is left out."""
    statement = (
        select(directory.c.tenant_id, func.sum(usage.c.events))
        .join(usage, usage.c.log_id == directory.c.log_id)
        .where(directory.c.tenant_id.in_(tenant_ids), usage.c.period == month)
        .group_by(directory.c.tenant_id)
    )
    return {tenant_id: int(events) for tenant_id, events in connection.execute(statement)}


def limit(connection: Connection, tenant_id: str) -> int | None:
    """The most events a month that a tenant may store, or None."""
    statement = select(tenants.c.events_limit).where(tenants.c.tenant_id == tenant_id)
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found
