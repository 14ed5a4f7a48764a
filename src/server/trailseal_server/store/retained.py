"""How far retention has come in each log."""

from sqlalchemy import Connection, select, update

from .schema import directory, logs, tenants


def bounded(connection: Connection) -> list[tuple[str, int]]:
    """The logs whose tenants keep events for so many days."""
    statement = (
        select(directory.c.log_id, tenants.c.retention_days)
        .join(tenants, tenants.c.tenant_id == directory.c.tenant_id)
        .where(tenants.c.retention_days.is_not(None))
    )
    return [(log_id, days) for log_id, days in connection.execute(statement)]


def looked_at(connection: Connection, log_id: str, size: int) -> None:
    """Retention has looked at the log's first events; at 0 it begins anew."""
    connection.execute(update(logs).where(logs.c.log_id == log_id).values(expired_size=size))
