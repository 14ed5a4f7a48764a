"""Logs: finding them, making them, and the lock that an append holds.

Rules:
- A log has a row in `directory`, where it is found by its tenant and gets its number, and one in
  `logs`, which is all that an append locks. Both are made in one transaction, the first one first.
- `default_for` names the tenant whose default log it is; `tenant_id` says whose log it is.
- A tenant's default log is named as the tenant where that is a free log id, otherwise it gets a
  random name: tenant ids are free text.
- Whoever locks several logs locks them in the order of their ids, and makes those that are missing
  before that (`ensure`): so writers wait for each other, but never in a circle.
"""

import re
import secrets
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select, text

from . import micros
from .driver import cursor
from .inserts import insert_missing
from .schema import directory, logs

LOG_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of `logs`; see schema.py."""

    log_id: str
    log_no: int
    tenant_id: str | None
    size: int
    edge: bytes
    last_received_at: int
    sealed_size: int
    public: bool
    created_at: int
    description: str | None = None
    names_epoch: int = 0
    policy_at: int | None = None
    expired_size: int = 0


def find(connection: Connection, log_id: str, *, lock: bool = False) -> LogRow | None:
    """The log, or None; `lock` holds its row until the transaction ends."""
    statement = _FIND[connection.dialect.name]
    if lock and connection.dialect.name == "postgresql":  # SQLite has one lock, and a writer has it
        statement += " FOR UPDATE"
    with cursor(connection) as on:
        row = on.execute(statement, (log_id,)).fetchone()
    if row is None:
        return None
    values: list[Any] = [*row]
    values[_PUBLIC] = bool(values[_PUBLIC])  # SQLite has none
    return LogRow(*values)


def find_default(connection: Connection, tenant_id: str) -> LogRow | None:
    """The tenant's default log, or None before its first event."""
    query = select(directory.c.log_id).where(directory.c.default_for == tenant_id)
    log_id = connection.execute(query).scalar_one_or_none()
    return None if log_id is None else find(connection, log_id)


def create(
    connection: Connection,
    log_id: str,
    *,
    tenant_id: str | None = None,
    public: bool = False,
    description: str | None = None,
) -> LogRow:
    """Make a named log; raises sqlalchemy.exc.IntegrityError if the name is taken."""
    row = replace(_new(connection, log_id, tenant_id, public=public), description=description)
    connection.execute(insert(directory).values(_entry(row)))
    connection.execute(insert(logs).values(_values(row)))
    return row


def ensure(connection: Connection, log_id: str, *, tenant_id: str | None = None) -> None:
    """Make a named log unless there is one, whosever it is."""
    _make(connection, _new(connection, log_id, tenant_id))


def ensure_default(connection: Connection, tenant_id: str) -> LogRow:
    """The tenant's default log, made if it is missing."""
    names = [tenant_id] if LOG_ID.fullmatch(tenant_id) else []
    for name in [*names, f"log_{secrets.token_hex(12)}"]:
        row = _new(connection, name, tenant_id)
        found = row if _make(connection, row, tenant_id) else find_default(connection, tenant_id)
        if found is not None:
            return found
    raise RuntimeError("96 random bits named another log")


def unsealed(connection: Connection) -> list[str]:
    """The logs that hold events which no checkpoint covers."""
    return list(
        connection.execute(select(logs.c.log_id).where(logs.c.size > logs.c.sealed_size)).scalars()
    )


def _make(connection: Connection, row: LogRow, default_for: str | None = None) -> bool:
    made = insert_missing(connection, directory, _entry(row, default_for))
    if made:
        connection.execute(insert(logs).values(_values(row)))
    return made


def _new(
    connection: Connection, log_id: str, tenant_id: str | None, *, public: bool = False
) -> LogRow:
    if not LOG_ID.fullmatch(log_id):
        raise ValueError(f"a log id must match {LOG_ID.pattern}")
    return LogRow(
        log_id=log_id,
        log_no=connection.execute(_NEXT_NUMBER[connection.dialect.name]).scalar_one(),
        tenant_id=tenant_id,
        size=0,
        edge=b"",
        last_received_at=0,
        sealed_size=0,
        public=public,
        created_at=micros.now(),
    )


def _entry(row: LogRow, default_for: str | None = None) -> dict[str, object]:
    known = {"log_id": row.log_id, "log_no": row.log_no, "tenant_id": row.tenant_id}
    return {**known, "default_for": default_for}


def _values(row: LogRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in LogRow.__slots__}


_NAMES = tuple(LogRow.__slots__)
_COLUMNS, _PUBLIC = ", ".join(_NAMES), _NAMES.index("public")
_FIND = {  # each append and each read begins with this one
    "postgresql": f"SELECT {_COLUMNS} FROM logs WHERE log_id = %s",  # noqa: S608 - names of ours
    "sqlite": f"SELECT {_COLUMNS} FROM logs WHERE log_id = ?",  # noqa: S608
}
# A sequence holds no lock until the end of the transaction; SQLite has one writer at a time.
_NEXT_NUMBER = {
    "postgresql": text("SELECT nextval('log_numbers')"),
    "sqlite": text("SELECT coalesce(max(log_no), 0) + 1 FROM directory"),
}
