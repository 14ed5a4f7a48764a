"""Checkpoints: stored before they are served, and never going back.

Rule: `record` swaps the log's `sealed_size` from the size that the signer saw to the new one, and
stores the checkpoint in the same transaction; if another signer was faster it changes nothing.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from . import logs, micros
from .driver import cursor
from .inserts import insert_missing
from .schema import checkpoints, meta
from .schema import logs as logs_table

MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed checkpoint; `published_at` in microseconds since 1970."""

    log_id: str
    tree_size: int
    root_hash: bytes
    note: str
    published_at: int


# Written out, for each proof reads one (driver.py).
_SELECT = f"SELECT {', '.join(CheckpointRow.__slots__)} FROM checkpoints"  # noqa: S608 - names
_AT = {
    name: f"{_SELECT} WHERE log_id = {mark} AND tree_size = {mark}"
    for name, mark in (("sqlite", "?"), ("postgresql", "%s"))
}


def record(connection: Connection, row: CheckpointRow, *, after: int) -> bool:
    """Store the checkpoint that follows the one of size `after` (0: none); False if that is no
    longer the last one, or the log is smaller than the checkpoint."""
    here = (logs_table.c.log_id == row.log_id) & (logs_table.c.sealed_size == after)
    grown = logs_table.c.size >= row.tree_size
    if row.tree_size:
        grown &= logs_table.c.sealed_size < row.tree_size
    swap = update(logs_table).where(here & grown).values(sealed_size=row.tree_size)
    if connection.execute(swap).rowcount != 1:
        return False
    # Of an empty log the size cannot show that another signer was faster; the row can.
    values = {name: getattr(row, name) for name in CheckpointRow.__slots__}
    return insert_missing(connection, checkpoints, values)


def at(connection: Connection, log_id: str, tree_size: int) -> CheckpointRow | None:
    """The checkpoint of exactly this tree size."""
    with cursor(connection) as on:
        row = on.execute(_AT[connection.dialect.name], (log_id, tree_size)).fetchone()
    return None if row is None else CheckpointRow(*row)


def latest(connection: Connection, log_id: str) -> CheckpointRow | None:
    """The last checkpoint, or None before the first."""
    log = logs.find(connection, log_id)
    return None if log is None else at(connection, log_id, log.sealed_size)


def newest(connection: Connection) -> CheckpointRow | None:
    """A last checkpoint of this database, of whichever log, or None before the first."""
    sealed = select(logs_table.c.log_id).where(logs_table.c.sealed_size > 0).limit(1)
    log_id = connection.execute(sealed).scalar()
    return None if log_id is None else latest(connection, log_id)


def listing(
    connection: Connection,
    log_id: str,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> list[CheckpointRow]:
    """At most `limit` checkpoints: the newest below `before`, or the oldest above `after`."""
    query = select(checkpoints).where(checkpoints.c.log_id == log_id)
    if after is not None:
        query = query.where(checkpoints.c.tree_size > after).order_by(checkpoints.c.tree_size)
    else:
        query = query.order_by(checkpoints.c.tree_size.desc())
        if before is not None:
            query = query.where(checkpoints.c.tree_size < before)
    rows = connection.execute(query.limit(min(limit, MAX_LISTED)))
    return [CheckpointRow(**row._asdict()) for row in rows]


def origin_prefix(connection: Connection) -> str | None:
    """What every origin of this database begins with, or None before it was chosen."""
    query = select(meta.c.value).where(meta.c.name == "origin_prefix")
    return connection.execute(query).scalar_one_or_none()


def choose_origin_prefix(connection: Connection, prefix: str) -> str:
    """Set the prefix unless the database has one already; answer the one that holds."""
    insert_missing(connection, meta, {"name": "origin_prefix", "value": prefix})
    return origin_prefix(connection) or prefix


def new(log_id: str, tree_size: int, root_hash: bytes, note: str) -> CheckpointRow:
    """A checkpoint made now."""
    return CheckpointRow(log_id, tree_size, root_hash, note, micros.now())
