"""Logs: finding them, making them, and the lock that an append holds.

Rules:
- `default_for` names the tenant whose default log it is; `tenant_id` says whose log it is.
- A tenant's default log is named as the tenant where that is a free log id, otherwise it gets a
  random name: tenant ids are free text.
- Whoever locks several logs locks them in the order of their ids, and makes those that are missing
  before that (`ensure`): so writers wait for each other, but never in a circle.
"""

import re
import secrets
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, insert, select, text

from . import micros
from .inserts import insert_missing
from .schema import logs

LOG_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of `logs`; see schema.py."""

    log_id: str
    log_no: int
    tenant_id: str | None
    default_for: str | None
    size: int
    edge: bytes
    last_received_at: int
    sealed_size: int
    public: bool
    created_at: int
    description: str | None = None


def find(connection: Connection, log_id: str, *, lock: bool = False) -> LogRow | None:
    """The log, or None; `lock` holds its row until the transaction ends."""
    return _one(connection, logs.c.log_id == log_id, lock=lock)


def find_default(connection: Connection, tenant_id: str, *, lock: bool = False) -> LogRow | None:
    """The tenant's default log, or None before its first event."""
    return _one(connection, logs.c.default_for == tenant_id, lock=lock)


def create(
    connection: Connection,
    log_id: str,
    *,
    tenant_id: str | None = None,
    public: bool = False,
    description: str | None = None,
) -> LogRow:
    """Make a named log; raises sqlalchemy.exc.IntegrityError if the name is taken."""
    row = _new(connection, log_id, tenant_id=tenant_id, default_for=None, public=public)
    row = replace(row, description=description)
    connection.execute(insert(logs).values(_values(row)))
    return row


def ensure(connection: Connection, log_id: str, *, tenant_id: str | None = None) -> None:
    """Make a named log unless there is one, whosever it is."""
    row = _new(connection, log_id, tenant_id=tenant_id, default_for=None, public=False)
    insert_missing(connection, logs, _values(row))


def ensure_default(connection: Connection, tenant_id: str) -> LogRow:
    """The tenant's default log, made if it is missing."""
    names = [tenant_id] if LOG_ID.fullmatch(tenant_id) else []
    for name in [*names, f"log_{secrets.token_hex(12)}"]:
        row = _new(connection, name, tenant_id=tenant_id, default_for=tenant_id, public=False)
        made = insert_missing(connection, logs, _values(row))
        found = row if made else find_default(connection, tenant_id)
        if found is not None:
            return found
    raise RuntimeError("96 random bits named another log")


def unsealed(connection: Connection) -> list[str]:
    """The logs that hold events which no checkpoint covers."""
    return list(
        connection.execute(select(logs.c.log_id).where(logs.c.size > logs.c.sealed_size)).scalars()
    )


def _one(connection: Connection, where: ColumnElement[bool], *, lock: bool) -> LogRow | None:
    query = select(logs).where(where)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else LogRow(**row._asdict())


def _new(
    connection: Connection,
    log_id: str,
    *,
    tenant_id: str | None,
    default_for: str | None,
    public: bool,
) -> LogRow:
    if not LOG_ID.fullmatch(log_id):
        raise ValueError(f"a log id must match {LOG_ID.pattern}")
    return LogRow(
        log_id=log_id,
        log_no=connection.execute(_NEXT_NUMBER[connection.dialect.name]).scalar_one(),
        tenant_id=tenant_id,
        default_for=default_for,
        size=0,
        edge=b"",
        last_received_at=0,
        sealed_size=0,
        public=public,
        created_at=micros.now(),
    )


def _values(row: LogRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in LogRow.__slots__}


# A sequence holds no lock until the end of the transaction; SQLite has one writer at a time.
_NEXT_NUMBER = {
    "postgresql": text("SELECT nextval('log_numbers')"),
    "sqlite": text("SELECT coalesce(max(log_no), 0) + 1 FROM logs"),
}
