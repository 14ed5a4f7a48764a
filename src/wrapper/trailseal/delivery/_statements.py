"""What a spool says to SQLite, one statement for many rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from trailseal.delivery._rows import DamagedError, Row, checksum
from trailseal.delivery.batching import Item
from trailseal.errors import DeliveryError

# Rows of one statement, below SQLite's old limit of 999 values. At every step of a statement Python
# lets other threads run, and waits for them: one statement for many rows keeps the lock short.
AT_ONCE = 200


@dataclass(slots=True)
class Entry:
    """An event on its way into the file, and what became of it."""

    id: str
    log_id: str | None
    content: bytes
    done: bool = False
    error: type[DeliveryError] | None = DeliveryError  # until it is committed
    dropped: list[str] = field(default_factory=list)


def insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
    """Write up to `AT_ONCE` rows with one statement: all or none; the last key."""
    values = list[str | bytes | int | None]()
    for entry in entries:
        crc = checksum(entry.id, entry.log_id, entry.content)
        values += (entry.id, entry.log_id, entry.content, crc)
    rows = ",".join(["(?,?,?,?)"] * len(entries))
    statement = f"INSERT INTO pending (id, log_id, content, crc) VALUES {rows}"  # noqa: S608  # question marks
    key = connection.execute(statement, values).lastrowid
    assert key is not None  # noqa: S101  # after an INSERT
    return key


def items_of(rows: sqlite3.Cursor, skip_keys: Collection[int]) -> Iterator[Item]:
    """The events of these rows; raises `DamagedError` for one that has changed."""
    for raw in rows:
        row = Row(*raw)
        if row.seq in skip_keys:
            continue
        if not row.sound:
            raise DamagedError("a row has changed")
        yield Item(row.seq, row.id, row.log_id, row.content)


def delete(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
    """Remove rows."""
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        marks = ",".join("?" * len(some))
        connection.execute(f"DELETE FROM pending WHERE seq IN ({marks})", some)  # noqa: S608  # question marks


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def oldest(
    connection: sqlite3.Connection, needed: int, sent: Collection[int]
) -> list[tuple[int, str, int]]:
    """Key, id and size of the oldest events that are not on their way, until they free enough."""
    chosen, size = list[tuple[int, str, int]](), 0
    query = "SELECT seq, id, length(content) FROM pending ORDER BY seq"
    with closing(connection.execute(query)) as rows:
        for row in rows:
            if size >= needed:
                break
            if row[0] not in sent:
                chosen.append(row)
                size += row[2]
    return chosen
