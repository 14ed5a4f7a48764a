"""Uploads in the database: permissions to send a file, and what has arrived (uploads.py)."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ..auth import Caller
from ..problems import Problem
from . import micros
from .schema import uploads

LIFETIME = 900 * 1_000_000  # microseconds: 15 minutes, as the contract says
KEPT = 8 * 86_400 * 1_000_000  # microseconds: longer than any operation that reads the file
ID_BYTES = 12
MAX_SWEEP = 100  # rows at a time: a short write transaction

UploadRow = Row[Any]


def create(connection: Connection, log_id: str, caller: Caller, request: bytes) -> UploadRow:
    """Make an upload; `request` is JSON."""
    now = micros.now()
    values = {
        "log_id": log_id,
        "upload_id": f"upl_{secrets.token_hex(ID_BYTES)}",
        "key_id": caller.key_id,
        "tenant_id": caller.tenant_id,
        "state": "waiting",
        "request": request,
        "created_at": now,
        "expires_at": now + LIFETIME,
    }
    connection.execute(insert(uploads).values(values))
    return find(connection, str(values["upload_id"]))


def find(connection: Connection, upload_id: str, caller: Caller | None = None) -> UploadRow:
    """The upload, of this caller if one is given; raises `Problem("upload_not_found")`."""
    statement = select(uploads).where(uploads.c.upload_id == upload_id)
    row = connection.execute(statement).one_or_none()
    if row is None or (caller is not None and caller.tenant_id not in {None, row.tenant_id}):
        raise Problem("upload_not_found", "There is no such upload")
    return row


def change(connection: Connection, row: UploadRow, values: Mapping[str, Any]) -> UploadRow:
    """Change an upload that is not completed; raises `Problem("upload_expired")` if it is."""
    mine = (uploads.c.log_id == row.log_id) & (uploads.c.upload_id == row.upload_id)
    open_ = uploads.c.state.in_(("waiting", "received"))
    if connection.execute(update(uploads).where(mine, open_).values(values)).rowcount == 0:
        raise Problem("upload_expired", "The upload is completed: begin another one")
    return find(connection, row.upload_id)


def expired(connection: Connection) -> Sequence[UploadRow]:
    """Uploads past their time that were never completed, and completed ones past `KEPT`."""
    now = micros.now()
    late = (uploads.c.state != "completed") & (uploads.c.expires_at <= now)
    old = uploads.c.expires_at <= now - KEPT
    return connection.execute(select(uploads).where(late | old).limit(MAX_SWEEP)).all()


def remove(connection: Connection, row: UploadRow) -> None:
    """Forget an upload."""
    mine = (uploads.c.log_id == row.log_id) & (uploads.c.upload_id == row.upload_id)
    connection.execute(delete(uploads).where(mine))
