"""Logs: finding them, making them, and the lock that an append holds.

Rules:
- `default_for` names the tenant whose default log it is; `tenant_id` says whose log it is.
- A tenant's default log is named as the tenant where that is a free log id, otherwise it gets a
  random name: tenant ids are free text.
"""

import re
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, insert, select

from . import micros
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


def find(connection: Connection, log_id: str, *, lock: bool = False) -> LogRow | None:
    """The log, or None; `lock` holds its row until the transaction ends."""
    return _one(connection, logs.c.log_id == log_id, lock=lock)


def find_default(connection: Connection, tenant_id: str, *, lock: bool = False) -> LogRow | None:
    """The tenant's default log, or None before its first event."""
    return _one(connection, logs.c.default_for == tenant_id, lock=lock)


def create(
    connection: Connection, log_id: str, *, tenant_id: str | None = None, public: bool = False
) -> LogRow:
    """Make a named log; raises sqlalchemy.exc.IntegrityError if the name is taken."""
    return _create(connection, log_id, tenant_id=tenant_id, default_for=None, public=public)


def create_default(connection: Connection, tenant_id: str) -> LogRow:
    """Make a tenant's default log."""
    log_id = tenant_id
    if not LOG_ID.fullmatch(log_id) or find(connection, log_id) is not None:
        log_id = f"log_{secrets.token_hex(12)}"
    return _create(connection, log_id, tenant_id=tenant_id, default_for=tenant_id, public=False)


def unsealed(connection: Connection) -> list[str]:
    """The logs that hold events which no checkpoint covers."""
    return list(
        connection.execute(select(logs.c.log_id).where(logs.c.size > logs.c.sealed_size)).scalars()
    )


def _one(connection: Connection, where: ColumnElement[bool], *, lock: bool) -> LogRow | None:
    query = select(logs).where(where)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else LogRow(**row._asdict())


def _create(
    connection: Connection,
    log_id: str,
    *,
    tenant_id: str | None,
    default_for: str | None,
    public: bool,
) -> LogRow:
    if not LOG_ID.fullmatch(log_id):
        raise ValueError(f"a log id must match {LOG_ID.pattern}")
    last = connection.execute(select(func.max(logs.c.log_no))).scalar()
    row = LogRow(
        log_id=log_id,
        log_no=1 if last is None else last + 1,
        tenant_id=tenant_id,
        default_for=default_for,
        size=0,
        edge=b"",
        last_received_at=0,
        sealed_size=0,
        public=public,
        created_at=micros.now(),
    )
    connection.execute(insert(logs).values({name: getattr(row, name) for name in LogRow.__slots__}))
    return row
