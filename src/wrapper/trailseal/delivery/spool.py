"""The spool: events on disk, one SQLite file for each process that writes.

1. `enqueue` returns after its event is committed and synced (WAL, synchronous=FULL). Threads that
   come together share one commit. If it raises, the event may still be found after a crash: give
   it again with its id, and it is stored once.
2. A row leaves only when it was delivered, parked or dropped. Forgetting a delivered row is not
   synced: after a power cut it is sent again, and the server knows its id.

`_database` opens the file, and mends it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from pathlib import Path

from trailseal._ids import now as now_text
from trailseal.delivery._database import Database
from trailseal.delivery._file import SpoolFile
from trailseal.delivery._fork import Sqlite
from trailseal.delivery._rows import DamagedError, checksum
from trailseal.delivery._statements import (
    AT_ONCE,
    Entry,
    Gone,
    delete,
    insert,
    items_of,
    oldest,
    transaction,
)
from trailseal.delivery.batching import Item, Limits, Waiting, cut, of_one_log
from trailseal.errors import DeliveryError, SpoolFullError

MAX_BYTES = 1 << 30  # of waiting events: some million of them, and a disk still has room
MAX_SCAN = 20_000  # rows looked at for one request, where logs are mixed

Lost = Callable[[int], None]


class Spool:
    """One file of which this process is the owner; every method raises `DeliveryError` where the
    disk fails.

    Args:
        file: The file, owned.
        lost: Called with the number of events that damage took, 0 if all were saved.
        max_bytes: Of the events that wait.
        drop_oldest: Whether the oldest events make room for new ones.
    """

    def __init__(
        self,
        file: SpoolFile,
        lost: Lost,
        *,
        max_bytes: int = MAX_BYTES,
        drop_oldest: bool = False,
    ) -> None:
        self._lost = lost
        self._max_bytes, self._drop_oldest = max_bytes, drop_oldest
        self._lock = Sqlite.lock  # one for all spools of the process
        self._queue_lock = threading.Lock()  # of those who wait for it
        self._entries: list[Entry] = []
        self._sent: set[int] = set()
        self._since = 0.0
        self._db = Database(file, self._mended)
        try:
            self.refresh()
        except DeliveryError:
            self._db.leave()
            raise

    def _mended(self, lost: int) -> None:
        self._sent.clear()
        self._lost(lost)

    @property
    def path(self) -> Path:
        """Of the database."""
        return self._db.path

    # ------------------------------------------------------------- accepting

    def enqueue(
        self, event_id: str, log_id: str | None, content: bytes, now: float
    ) -> Sequence[str]:
        """Commit an event; the ids of those that were dropped for it.

        Raises:
            SpoolFullError: The limit is reached, or the disk is full.
            DeliveryError: The disk failed.
        """
        entry = Entry(event_id, log_id, content)
        with self._queue_lock:
            self._entries.append(entry)
        with self._lock:
            if not entry.done:
                with self._queue_lock:
                    group, self._entries = self._entries, []
                self._commit(group, now)
        if entry.error is SpoolFullError:
            raise SpoolFullError("The spool, or its disk, is full.")
        if entry.error is not None:
            raise DeliveryError("The spool cannot be written.")
        return entry.dropped

    def _commit(self, group: list[Entry], now: float) -> None:
        """Write a group in one transaction; each entry learns how it went."""
        try:
            waited = self._db.mark.left > len(self._sent)
            with_room, gone = self._db.run(lambda connection: self._write(connection, group))
            if not waited:
                self._since = now
            for entry in group:
                entry.error = SpoolFullError
            for entry in with_room:
                entry.error = None
            if with_room:
                with_room[0].dropped += [row.id for row in gone]
            with suppress(DeliveryError):  # what was written is written
                self._db.catch_up_with_others()
        except SpoolFullError:
            for entry in group:
                entry.error = SpoolFullError
        except DeliveryError:
            pass  # which the entries say already
        finally:
            for entry in group:
                entry.done = True

    def _write(
        self, connection: sqlite3.Connection, group: list[Entry]
    ) -> tuple[list[Entry], list[Gone]]:
        """The entries that have room, now committed, and what gave it."""
        room, key = self._max_bytes - self._db.bytes, self._db.mark.key
        with_room, gone = list[Entry](), list[Gone]()
        needed = sum(len(entry.content) for entry in group) - room
        if needed <= 0 and len(group) <= AT_ONCE:
            self._db.added(group, insert(connection, group))  # a transaction of its own
            return group, gone
        if needed > 0 and self._drop_oldest:
            gone = oldest(connection, needed, self._sent)
        with self._db.leaving(connection, gone), transaction(connection):
            delete(connection, [row.key for row in gone])
            room += sum(row.size for row in gone)
            for entry in group:
                if len(entry.content) <= room:
                    room -= len(entry.content)
                    with_room.append(entry)
            if gone and not with_room:
                raise SpoolFullError("One event is larger than the spool.")
            for first in range(0, len(with_room), AT_ONCE):
                key = insert(connection, with_room[first : first + AT_ONCE])
        self._db.added(with_room, key)
        return with_room, gone

    # ------------------------------------------------------------ delivering

    def waiting(self) -> Waiting:
        """What waits."""
        with self._lock:
            count = max(0, self._db.mark.left - len(self._sent))
            return Waiting(count, self._db.bytes if count else 0, self._since)

    def take(
        self, limits: Limits, skip_keys: Collection[int], skip_logs: Collection[str | None]
    ) -> list[Item]:
        """The next request; its rows stay until they are settled or parked."""

        def read(connection: sqlite3.Connection) -> list[Item]:
            others = " AND ".join(["log_id IS NOT ?"] * len(skip_logs)) or "1"
            query = f"SELECT * FROM pending WHERE {others} ORDER BY seq LIMIT ?"  # noqa: S608  # question marks
            most = MAX_SCAN + len(skip_keys) + len(self._sent)
            skipped = {*skip_keys, *self._sent}
            with closing(connection.execute(query, (*skip_logs, most))) as rows:
                found = cut(of_one_log(items_of(rows, skipped)), limits)
            if not found and not skip_logs and self._db.mark.left > len(skipped):
                raise DamagedError("events are missing")
            return found

        with self._lock:
            batch = self._db.run(read)
            self._sent.update(item.key for item in batch)
            return batch

    def settle(self, items: Collection[Item]) -> None:
        """Forget events that were delivered."""

        def forget(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
            connection.execute("PRAGMA synchronous = NORMAL")  # rule 2
            try:
                with transaction(connection):
                    delete(connection, keys)
            finally:
                connection.execute("PRAGMA synchronous = FULL")

        with self._lock:
            self._settled(forget, items)

    def park(self, item: Item, code: str, detail: str) -> bool:
        """Keep a refused event with the reason, out of the way: True."""
        # A server may say what no UTF-8 can hold.
        code, detail = (text.encode(errors="replace").decode() for text in (code, detail))
        crc = checksum(item.id, item.log_id, item.content)
        row = (item.key, item.id, item.log_id, crc, item.content, code, detail, now_text())

        def move(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
            with transaction(connection):
                insert = "INSERT OR REPLACE INTO parked VALUES (?,?,?,?,?,?,?,?)"
                connection.execute(insert, row)
                delete(connection, keys)

        with self._lock:
            self._settled(move, [item])
        return True

    def _settled(
        self,
        work: Callable[[sqlite3.Connection, Sequence[int]], None],
        items: Collection[Item],
    ) -> None:
        """Do what makes these events leave, and count it."""
        self._db.remove(items, self._sent, work)
        self._sent.difference_update(item.key for item in items)

    def release(self, items: Collection[Item]) -> None:
        """Let events that were on their way wait again."""
        with self._lock:
            self._sent.difference_update(item.key for item in items)

    # --------------------------------------------------------------- looking

    def pending(self) -> int:
        """How many events are not settled."""
        with self._lock:
            return self._db.mark.left

    def bytes(self) -> int:
        """Of the events that are not settled."""
        with self._lock:
            return self._db.bytes

    def oldest(self) -> int | None:
        """The key of the oldest event that is not settled."""

        def read(connection: sqlite3.Connection) -> int | None:
            found: int | None = connection.execute("SELECT min(seq) FROM pending").fetchone()[0]
            return found

        with self._lock:
            return self._db.run(read) if self._db.mark.left else None

    def newest(self) -> int:
        """The key of the event that was accepted last."""
        with self._lock:
            return self._db.mark.key

    def refresh(self) -> int:
        """Count again, since the command line may have requeued what was parked; how many more."""
        with self._lock:
            self._db.catch_up()
            more, self._db.requeued = self._db.requeued, 0
            return more

    def close(self) -> None:
        """Give the file up; it is deleted if nothing lies in it."""

        def lies_in_it(connection: sqlite3.Connection) -> bool:
            query = "SELECT EXISTS (SELECT 1 FROM pending) OR EXISTS (SELECT 1 FROM parked)"
            return bool(connection.execute(query).fetchone()[0])

        with self._lock:
            try:
                empty = not self._db.run(lies_in_it)
            except DeliveryError:
                empty = False  # then it stays
            self._db.close(remove=empty)

    def leave(self) -> None:
        """Close the database and keep the file, for somebody else to read."""
        with self._lock:
            self._db.leave()

    def abandon(self) -> list[sqlite3.Connection]:
        """In a forked child: leave all to the parent. These connections must never be closed."""
        return self._db.abandon()
