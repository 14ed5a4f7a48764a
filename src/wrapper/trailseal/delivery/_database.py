"""The database of a spool: opened, counted, and mended when it is damaged.

1. A damaged file is set aside as `*.damaged-…`, its sound rows go on in a new one under their keys,
   the others are counted.
2. A full disk is an error of now: nothing has to be reopened once there is room.
3. Whoever calls holds the lock of all spools (`_fork`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from trailseal.delivery._file import Mark, SpoolFile
from trailseal.delivery._rows import (
    PAGE,
    SCHEMA,
    VERSION,
    DamagedError,
    Saved,
    connect,
    is_damage,
    measure,
    salvage,
    weight,
)
from trailseal.delivery._statements import Entry, Gone, behind, rows_of, with_oldest, without
from trailseal.delivery.batching import Item
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
        self.unnoted = 0  # events of ours that `mark` does not know yet
        self._connection: sqlite3.Connection | None = None
        self._broken: list[sqlite3.Connection] = []  # closing them would tidy up what is to be seen
        self._source: BinaryIO | None = None  # the damaged file, while it is mended
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
            except (sqlite3.Error, OSError, UnicodeError) as error:
                if not is_damage(error):
                    raise _delivery_error(error) from error
                if mended:
                    self._let_go()
                    raise _delivery_error(error) from error
            except DeliveryError:
                raise
            except BaseException:  # of a signal's handler: who knows what was done
                self._let_go()
                raise
            self._recover()
        raise AssertionError("the second round returns or raises")

    def catch_up(self) -> None:
        """Count what the command line has requeued meanwhile, into `requeued` too."""
        self.run(self._catch_up)

    def catch_up_with_others(self) -> None:
        """The same, if there is a sign of it."""
        if self.unnoted:
            self.catch_up()

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        mark, size = behind(connection, self.mark)
        self.requeued += max(0, mark.left - self.mark.left - self.unnoted)
        self.bytes, self.unnoted = self.bytes + size, 0
        if mark != self.mark:
            self.note(mark)

    def remove(
        self,
        items: Collection[Item],
        sent: Collection[int],
        work: Callable[[sqlite3.Connection, Sequence[int]], None],
    ) -> None:
        """Do the work that makes these events leave. Raises `DeliveryError`; then they stay.

        Keys in `sent` are as they were read; since then the others may have been lost.
        """

        def noted(connection: sqlite3.Connection) -> None:
            ids = {item.key: item.id for item in items}
            sure = [Gone.of(item) for item in items if item.key in sent]
            found = rows_of(connection, [key for key in ids if key not in sent])
            rows = sure + [row for row in found if row.id == ids[row.key]]
            keys = [row.key for row in rows]
            with self.leaving(connection, rows):
                there = {(row.key, row.id) for row in rows_of(connection, keys)}
                if not there.issuperset((row.key, row.id) for row in sure):
                    raise DamagedError("a row is not where it was read")
                work(connection, keys)

        self.run(noted)

    @contextmanager
    def leaving(self, connection: sqlite3.Connection, rows: Sequence[Gone]) -> Iterator[None]:
        """Note that these leave, before they do: a crash between must not look like damage."""
        if any(row.key > self.mark.key for row in rows):
            self._catch_up(connection)
        before, after = self.mark, without(self.mark, rows)
        self._file.mark(after)
        self.mark = after
        try:
            yield
        except Exception as error:
            if not is_damage(error):
                self.mark = before  # but not the note: after a crash they may be found to be gone
            raise
        self.bytes -= sum(row.size for row in rows)
        with suppress(sqlite3.Error):  # it is done, and what is noted is right
            self.note(with_oldest(connection, after))

    def added(self, entries: Sequence[Entry], key: int) -> None:
        """Count and note what was written; `key` is the last."""
        if self.unnoted or key != self.mark.key + len(entries):  # others have written, too
            self.unnoted += len(entries)  # until `catch_up`: it is committed, nothing may fail now
            return
        keys = range(self.mark.key + 1, key + 1)
        total = sum(weight(at, entry.crc) for at, entry in zip(keys, entries, strict=True))
        self.bytes += sum(len(entry.content) for entry in entries)
        left = self.mark.left + len(entries)
        self.note(Mark(key, left, self.mark.total + total, self.mark.oldest))

    def _open(self) -> sqlite3.Connection:
        """Open or make the database; raises sqlite3.Error."""
        if self._file.finish():
            self._close_broken()  # it is another file now
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
            noted = self.mark
            mark, self.bytes, (left, total) = measure(connection, noted)
            others = left == noted.left and total != noted.total
            if mark.key < noted.key or left < noted.left or others:
                raise DamagedError("events are missing")  # noqa: TRY301  # as SQLite's own
            self.note(mark)
            self.unnoted = 0
        except BaseException as error:
            self._broken.append(connection)
            if not is_damage(error):
                self._close_broken()
            raise
        self._connection = connection
        return connection

    def note(self, mark: Mark) -> None:
        """Tell the lock's file how far we got; if that fails, what it says is still right."""
        self.mark = mark
        with suppress(OSError):
            self._file.mark(mark)

    def _recover(self) -> None:
        """Set the damaged file aside, and begin a new one with its sound rows."""
        mark, path, new = self.mark, self._file.path, self._file.successor
        if self._connection is not None:
            self._broken.append(self._connection)
            self._connection = None
        try:
            new.unlink(missing_ok=True)
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            # Closing it would free the locks that connections of this process have on it (fcntl).
            self._source = self._source or path.open("rb")
            saved = salvage(self._source, Path(f"{path}-wal"), new, mark)
            self._file.replace()
        except (sqlite3.Error, OSError) as error:
            raise _delivery_error(error) from error
        self._close_broken()
        self.mark = saved.mark
        self._mended(_lost(mark, saved))

    def _let_go(self) -> None:
        """Close the database; whoever comes next opens it, and counts."""
        if self._connection is not None:
            self._broken.append(self._connection)
            self._connection = None
        self._close_broken()

    def _close_broken(self) -> None:
        if self._broken:
            with self._file.keeping_log():
                while self._broken:
                    self._broken.pop().close()
        if self._source is not None:
            self._source.close()
            self._source = None

    def close(self, *, remove: bool) -> None:
        """Give the file up, once."""
        if not self._closed:
            self.leave()
            self._file.release(remove=remove)

    def leave(self) -> None:
        """Close it, and keep the file."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
        self._close_broken()

    def abandon(self) -> list[sqlite3.Connection]:
        """Forget the file; its connections, which must never be closed."""
        self._file.forget()
        return [*self._broken, *([self._connection] if self._connection else [])]


def _lost(mark: Mark, saved: Saved) -> int:
    """How many events damage took: exact where events left in their order, else at most so many."""
    if not mark.key:  # no note was left
        return saved.unsound + saved.unsound_others
    left, total = saved.covered
    if (left, total) == (mark.left, mark.total):
        return saved.unsound_others
    absent = mark.key - mark.oldest + 1 - left  # lost, or gone before older ones
    return min(absent, mark.left) + saved.unsound_others


def _delivery_error(error: Exception) -> DeliveryError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return SpoolFullError("The disk of the spool is full.")
    return DeliveryError(f"The spool cannot be used ({error}).")
