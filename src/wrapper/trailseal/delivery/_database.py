"""The database of a spool: opened, counted, and mended when it is damaged.

1. A damaged file is set aside as `*.damaged-…`, its sound rows go on in a new one under their keys,
   the others are counted.
2. A full disk is an error of now: nothing has to be reopened once there is room.
3. Whoever calls holds the lock of all spools (`_fork`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trailseal.delivery._file import Mark, SpoolFile
from trailseal.delivery._rows import (
    PAGE,
    SCHEMA,
    VERSION,
    DamagedError,
    Saved,
    connect,
    is_damage,
    is_key,
    salvage,
)
from trailseal.delivery._statements import Entry, Gone, rows_of, without
from trailseal.errors import DeliveryError, SpoolFullError

CHECKPOINT_PAGES = 4096  # of the write-ahead log, 16 MiB: rare, and some milliseconds
BUSY_S = 5.0  # the command line may look at the same file

T = TypeVar("T")


class Database:
    """One file of which this process is the owner.

    `mark` is how far we got, `bytes` those of the events that are not settled. `mended` is called
    with the number of events that damage took, 0 if all were saved; see `_lost`.
    """

    def __init__(self, file: SpoolFile, mended: Callable[[int], None]) -> None:
        self._file, self._mended = file, mended
        self.mark = file.last_mark() or Mark()
        self.bytes = self.requeued = 0
        self._connection: sqlite3.Connection | None = None
        self._broken: list[sqlite3.Connection] = []
        self._closed = False

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._file.path

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work on the open database; again after damage was mended. Raises `DeliveryError`."""
        for mended in (False, True):
            if self._closed:
                raise DeliveryError("The spool is closed.")
            try:
                return work(self._connection or self._open())
            except (sqlite3.Error, OSError) as error:
                if mended or not is_damage(error):
                    raise _delivery_error(error) from error
            self._recover()
        raise AssertionError("the second round returns or raises")

    def recount(self) -> None:
        """Count what is there, by looking; more than we knew is `requeued` by the command line."""
        self.run(self._recount)

    def _recount(self, connection: sqlite3.Connection, ours: int = 0) -> None:
        known = self.mark.left + ours
        self.note(self._measure(connection))
        self.requeued += self.mark.left - known

    def remove(self, keys: Sequence[int], work: Callable[[sqlite3.Connection], None]) -> None:
        """Do the work that makes these events leave. Raises `DeliveryError`; then they stay."""

        def noted(connection: sqlite3.Connection) -> None:
            with self.leaving(connection, rows_of(connection, keys)):
                work(connection)

        self.run(noted)

    @contextmanager
    def leaving(self, connection: sqlite3.Connection, rows: Sequence[Gone]) -> Iterator[None]:
        """Note that these leave, before they do: a crash between must not look like damage."""
        if rows and max(row.key for row in rows) > self.mark.key:
            self._recount(connection)
        before = self.mark
        try:
            self.note(without(connection, before, rows))
            yield
        except BaseException as error:
            if not is_damage(error):
                self.note(before)
            raise
        self.bytes -= sum(row.size for row in rows)

    def added(self, connection: sqlite3.Connection, entries: Sequence[Entry], key: int) -> None:
        """Count and note what was written; `key` is the last."""
        if key != self.mark.key + len(entries):  # others have written, too
            self._recount(connection, len(entries))
            return
        left, total = self.mark.left + len(entries), sum(entry.crc for entry in entries)
        self.bytes += sum(len(entry.content) for entry in entries)
        self.note(Mark(key, left, self.mark.total + total, self.mark.oldest))

    def _open(self) -> sqlite3.Connection:
        """Open or make the database; raises sqlite3.Error."""
        connection = connect(self._file.path)
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if version == tables == 0 and not self.mark.key:
                connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            elif version != VERSION:
                raise DamagedError("not the version that we write")  # noqa: TRY301  # as SQLite's own
            found, noted = self._measure(connection), self.mark
            others = found[:2] == noted[:2] and found.total != noted.total
            if found.key < noted.key or found.left < noted.left or others:
                raise DamagedError("events are missing")  # noqa: TRY301  # as SQLite's own
            self.note(found)
        except BaseException:
            # Closing would tidy up what `_recover` has to see: it closes, once it has copied.
            self._broken.append(connection)
            raise
        self._connection = connection
        return connection

    def _measure(self, connection: sqlite3.Connection) -> Mark:
        """Count what is there."""
        last = connection.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
        query = """SELECT count(*), ifnull(sum(crc & 0xffffffff), 0), min(seq),
          ifnull(sum(length(content)), 0) FROM pending"""
        left, total, oldest, self.bytes = connection.execute(query).fetchone()
        if not is_key(last) or (left and oldest < 1):
            raise DamagedError("keys that we do not give")
        return Mark(last, left, total, oldest or last + 1)

    def note(self, mark: Mark) -> None:
        """Tell the lock's file how far we got."""
        self.mark = mark
        self._file.mark(mark)

    def _recover(self) -> None:
        """Set the damaged file aside, and begin a new one with its sound rows."""
        mark, new = self.mark, self._file.path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            saved = salvage(self._file.path, new, mark)
            self._file.set_aside()
            new.rename(self._file.path)
        except (sqlite3.Error, OSError) as error:
            raise _delivery_error(error) from error
        if self._connection is not None:
            self._broken.append(self._connection)
        while self._broken:
            self._broken.pop().close()  # their files have other names now
        self._connection, self.mark = None, Mark()
        self._mended(_lost(mark, saved))

    def close(self, *, remove: bool) -> None:
        """Give the file up."""
        self._closed = True
        for connection in (*self._broken, self._connection):
            if connection is not None:
                connection.close()
        self._file.release(remove=remove)

    def leave(self) -> None:
        """Close it, and keep the file."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()

    def abandon(self) -> list[sqlite3.Connection]:
        """Forget the file; its connections, which must never be closed."""
        self._file.forget()
        return [*self._broken, *([self._connection] if self._connection else [])]


def _lost(mark: Mark, saved: Saved) -> int:
    """How many events damage took: exact where events left in their order, else at most so many."""
    if not mark.key:  # no note was left
        return saved.unsound + saved.unsound_parked
    if (saved.left, saved.total) == (mark.left, mark.total):
        return saved.unsound_parked
    absent = mark.key - mark.oldest + 1 - saved.left  # lost, or gone before older ones
    return min(absent, mark.left) + saved.unsound_parked


def _delivery_error(error: Exception) -> DeliveryError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return SpoolFullError("The disk of the spool is full.")
    return DeliveryError(f"The spool cannot be used ({error}).")
