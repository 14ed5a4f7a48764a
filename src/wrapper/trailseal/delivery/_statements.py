"""What a spool says to SQLite, one statement for many rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from trailseal.delivery._file import Mark
from trailseal.delivery._rows import MAX_KEY, WEIGHT, DamagedError, Row, checksum, weight
from trailseal.delivery.batching import Item
from trailseal.errors import DeliveryError

# Rows of one statement, below SQLite's old limit of 999 values. At every step of a statement Python
# lets other threads run, and waits for them: one statement for many rows keeps the lock short.
AT_ONCE = 200
_GONE = f"SELECT seq, id, ifnull(length(content), 0), {WEIGHT} FROM pending"  # noqa: S608  # names of ours


@dataclass(slots=True)
class Entry:
    """An event on its way into the file, and what became of it."""

    id: str
    log_id: str | None
    content: bytes
    done: bool = False
    error: type[DeliveryError] | None = DeliveryError  # until it is committed
    dropped: list[str] = field(default_factory=list)

    @property
    def crc(self) -> int:
        """Of its row."""
        return checksum(self.id, self.log_id, self.content)


class Gone(NamedTuple):
    """An event that leaves."""

    key: int
    id: str
    size: int
    weight: int

    @classmethod
    def of(cls, item: Item) -> Gone:
        """As it was read."""
        crc = checksum(item.id, item.log_id, item.content)
        return cls(item.key, item.id, len(item.content), weight(item.key, crc))


def insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
    """Write up to `AT_ONCE` rows with one statement: all or none; the last key."""
    values = list[str | bytes | int | None]()
    for entry in entries:
        values += (entry.id, entry.log_id, entry.content, entry.crc)
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
    for some, marks in _slices(keys):
        connection.execute(f"DELETE FROM pending WHERE seq IN ({marks})", some)  # noqa: S608  # question marks


def _slices(keys: Sequence[int]) -> Iterator[tuple[Sequence[int], str]]:
    """Keys for one statement, and its question marks."""
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        yield some, ",".join("?" * len(some))


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


def oldest(connection: sqlite3.Connection, needed: int, sent: Collection[int]) -> list[Gone]:
    """The oldest events that are not on their way, until they free enough."""
    chosen, size = list[Gone](), 0
    with closing(connection.execute(f"{_GONE} ORDER BY seq")) as rows:
        for row in rows:
            if size >= needed:
                break
            if row[0] not in sent:
                chosen.append(Gone(*row))
                size += chosen[-1].size
    return chosen


def rows_of(connection: sqlite3.Connection, keys: Sequence[int]) -> list[Gone]:
    """Those of the keys that are there."""
    found = list[Gone]()
    for some, marks in _slices(keys):
        query = f"{_GONE} WHERE seq IN ({marks})"
        found += map(Gone._make, connection.execute(query, some))
    return found


def without(mark: Mark, rows: Sequence[Gone]) -> Mark:
    """How far we are once these have left; `oldest` may be too low."""
    left, total = mark.left - len(rows), mark.total - sum(row.weight for row in rows)
    last = max((row.key for row in rows), default=0)
    first_ones = last - mark.oldest + 1 == len(rows)
    oldest = mark.key + 1 if left <= 0 else last + 1 if first_ones else mark.oldest
    return Mark(mark.key, max(0, left), max(0, total), oldest)


def with_oldest(connection: sqlite3.Connection, mark: Mark) -> Mark:
    """The same, with the key that is the oldest now; unless so many events cannot lie above."""
    found = connection.execute("SELECT min(seq) FROM pending").fetchone()[0]
    oldest = mark.key + 1 if found is None else found
    likely = mark.oldest <= oldest <= mark.key + 1 - mark.left
    return mark._replace(oldest=oldest) if likely else mark


def behind(connection: sqlite3.Connection, mark: Mark) -> tuple[Mark, int]:
    """How far we are with what others have added behind the last key, and its bytes."""
    query = f"""SELECT count(*), ifnull(sum({WEIGHT}), 0), ifnull(min(seq), ?1 + 1),
      ifnull(max(seq), ?1), ifnull(sum(length(content)), 0) FROM pending WHERE seq > ?1"""  # noqa: S608  # names of ours
    more, total, first, last, size = connection.execute(query, (mark.key,)).fetchone()
    if not mark.key <= first - 1 <= last < MAX_KEY:
        raise DamagedError("keys that we do not give")
    return Mark(last, mark.left + more, mark.total + total, mark.oldest), size
