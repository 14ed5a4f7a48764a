"""What a check of a database reads: rows as they are, in chunks, nothing derived and nothing kept.

Rules:
- A log is checked up to the size it had when its check began; rows below it never change places,
  so each chunk is a transaction of its own and a server may go on writing.
- On SQLite, text that is no UTF-8 any more is read with U+FFFD in it: damage is for the check to
  name, not for the driver.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection

from . import Store, checkpoints, logs
from .checkpoints import CheckpointRow
from .logs import LogRow
from .migrate import newest, revision
from .schema import checkpoints as checkpoints_table
from .schema import directory, events, tiles
from .schema import logs as logs_table
from .tiles import HEIGHT, MAX_LEVEL

CHUNK = 64  # events of a transaction: at most 64 MiB of bodies at once
LOGS = 1000  # log ids of a transaction


class Extent(NamedTuple):
    """One log at one moment: its row, and how far its other rows reach (-1: there are none)."""

    log: LogRow
    entry: Row[Any] | None  # of the directory
    last_event: int
    last_checkpoint: int
    tiles_beyond: int  # tiles that a log of this size cannot have


def open_for_check(url: str) -> Store:
    """The database, not migrated; raises ValueError if its schema is not this version's."""
    store = Store.attach(url)
    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "connect", _read_leniently)
    with store.read() as connection:
        if revision(connection) != newest():
            raise ValueError("its schema is not this version's: trailseal-server migrate first")
    return store


def log_ids(store: Store) -> Iterator[str]:
    """Every log, in the order of their ids."""
    last = ""
    while True:
        query = select(logs_table.c.log_id).where(logs_table.c.log_id > last)
        with store.read() as connection:
            found = connection.execute(query.order_by(logs_table.c.log_id).limit(LOGS)).scalars()
            page = found.all()
        yield from page
        if len(page) < LOGS:
            return
        last = page[-1]


def strays(store: Store) -> list[tuple[str, str]]:
    """Table and log id of rows whose log has no row; at most `LOGS` of each table."""
    found = []
    for table in (directory, events, tiles, checkpoints_table):
        known = select(logs_table.c.log_id)
        query = select(table.c.log_id).where(table.c.log_id.not_in(known)).distinct().limit(LOGS)
        with store.read() as connection:
            found += [(table.name, each) for each in connection.execute(query).scalars()]
    return found


def extent(store: Store, log_id: str) -> Extent | None:
    """How far a log reaches now; None if there is no such log."""
    with store.read() as connection:
        log = logs.find(connection, log_id)
        if log is None:
            return None
        entry = select(directory).where(directory.c.log_id == log_id)
        last_event = select(func.max(events.c.idx)).where(events.c.log_id == log_id)
        size = checkpoints_table.c.tree_size
        last = select(func.max(size)).where(checkpoints_table.c.log_id == log_id)
        return Extent(
            log, connection.execute(entry).one_or_none(), _or_none(connection, last_event),
            _or_none(connection, last), _tiles_beyond(connection, log),
        )  # fmt: skip


def event_rows(store: Store, log_id: str, size: int) -> Iterator[Row[Any]]:
    """The events below `size`, by index."""
    last = -1
    while True:
        query = select(events).where(events.c.log_id == log_id, events.c.idx > last)
        query = query.where(events.c.idx < size).order_by(events.c.idx).limit(CHUNK)
        with store.read() as connection:
            rows = connection.execute(query).all()
        yield from rows
        if len(rows) < CHUNK:
            return
        last = rows[-1].idx


def checkpoint_rows(store: Store, log_id: str, last: int) -> Iterator[CheckpointRow]:
    """The checkpoints up to size `last`, by size."""
    after = -1
    while after < last:
        with store.read() as connection:
            rows = checkpoints.listing(connection, log_id, limit=CHUNK, after=after)
        yield from (row for row in rows if row.tree_size <= last)
        if not rows:
            return
        after = rows[-1].tree_size


def tile(store: Store, log_id: str, level: int, n: int) -> tuple[bytes, bytes] | None:
    """Data and root of a stored tile."""
    where = (tiles.c.log_id == log_id) & (tiles.c.level == level) & (tiles.c.n == n)
    with store.read() as connection:
        row = connection.execute(select(tiles.c.data, tiles.c.root).where(where)).one_or_none()
    return None if row is None else (row.data, row.root)


def _tiles_beyond(connection: Connection, log: LogRow) -> int:
    mine = select(func.count()).select_from(tiles).where(tiles.c.log_id == log.log_id)
    outside = ~tiles.c.level.between(0, MAX_LEVEL) | (tiles.c.n < 0)
    for level in range(MAX_LEVEL + 1):
        complete = log.size >> HEIGHT * (level + 1)
        outside |= (tiles.c.level == level) & (tiles.c.n >= complete)
    return connection.execute(mine.where(outside)).scalar_one()


def _or_none(connection: Connection, query: Any) -> int:
    found: int | None = connection.execute(query).scalar_one()
    return -1 if found is None else found


def _read_leniently(connection: DBAPIConnection, _record: Any) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - narrows for the type checker
    connection.text_factory = lambda raw: raw.decode(errors="replace")
