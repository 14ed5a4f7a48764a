"""The database of a spool: opened, counted, and mended when it is damaged.

1. A damaged file is set aside as `*.damaged-…`, its sound rows go on in a new one under their keys,
   the others are counted.
2. A full disk is an error of now: nothing has to be reopened once there is room.
3. Whoever calls holds the lock of all spools (`_fork`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trailseal.delivery._file import Mark, SpoolFile
from trailseal.delivery._rows import (
    PAGE,
    SCHEMA,
    VERSION,
    DamagedError,
    connect,
    is_damage,
    salvage,
)
from trailseal.errors import DeliveryError, SpoolFullError

CHECKPOINT_PAGES = 4096  # of the write-ahead log, 16 MiB: rare, and some milliseconds
BUSY_S = 5.0  # the command line may look at the same file

T = TypeVar("T")


class Database:
    """One file of which this process is the owner.

    `count` and `bytes` are those of the events that are not settled, `mark` is how far we got.
    `mended` is called with the number of events that damage took, 0 if all were saved.
    """

    def __init__(self, file: SpoolFile, mended: Callable[[int], None]) -> None:
        self._file, self._mended = file, mended
        self.mark = file.last_mark() or Mark(0, 0)
        self.count = self.bytes = 0
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
        """Count what is there, by looking."""
        self.run(self._measure)

    def note_ahead(self, leaving: int) -> None:
        """Tell the lock's file that so many events are about to leave: see `_file`."""
        self._file.mark(Mark(self.mark.key, max(0, self.count - leaving)))

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
            key = self._measure(connection)
            if key < self.mark.key or self.count < self.mark.left:
                raise DamagedError("events are missing")  # noqa: TRY301  # as SQLite's own
            self.note(key)
        except BaseException:
            # Closing would tidy up what `_recover` has to see: it closes, once it has copied.
            self._broken.append(connection)
            raise
        self._connection = connection
        return connection

    def _measure(self, connection: sqlite3.Connection) -> int:
        """Count what is there; the last key."""
        query = "SELECT count(*), ifnull(sum(length(content)), 0) FROM pending"
        self.count, self.bytes = connection.execute(query).fetchone()
        last = connection.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence").fetchone()[0]
        return int(last)

    def note(self, key: int) -> None:
        """Tell the lock's file how far we got."""
        self.mark = Mark(key, self.count)
        self._file.mark(self.mark)

    def _recover(self) -> None:
        """Set the damaged file aside, and begin a new one with its sound rows."""
        mark, new = self.mark, self._file.path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            saved = salvage(self._file.path, new, mark.key)
            self._file.set_aside()
            new.rename(self._file.path)
        except (sqlite3.Error, OSError) as error:
            raise _delivery_error(error) from error
        if self._connection is not None:
            self._broken.append(self._connection)
        while self._broken:
            self._broken.pop().close()  # their files have other names now
        self._connection, self.mark = None, Mark(0, 0)
        hidden = min(mark.left, max(0, mark.key - saved.seen))
        self._mended(max(saved.unsound, mark.left - saved.pending, hidden))

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


def _delivery_error(error: Exception) -> DeliveryError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return SpoolFullError("The disk of the spool is full.")
    return DeliveryError(f"The spool cannot be used ({error}).")
