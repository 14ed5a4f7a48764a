"""Looking into spool files from outside, for people: also while their processes run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trailseal.delivery._file import SpoolFile, is_owned, spool_files
from trailseal.delivery._quiet import notice_damage
from trailseal.delivery._rows import Row, connect
from trailseal.delivery.spool import Spool
from trailseal.errors import DeliveryError

BUSY_MS = 5000  # a process that writes holds the file for milliseconds


@dataclass(frozen=True, slots=True)
class Contents:
    """One file: `state` is `in use` by a process that runs, `left` by one that ended, or
    `damaged`, set aside; then nothing is counted."""

    file: str
    state: str
    pending: int = 0
    parked: int = 0
    bytes: int = 0


def contents(folder: Path) -> Iterator[Contents]:
    """What lies in a folder; raises `DeliveryError` for what cannot be read."""
    for path in spool_files(folder):
        state = "in use" if is_owned(path) else "left"
        with _opened(path) as connection:
            query = "SELECT count(*), ifnull(sum(length(content)), 0) FROM "
            pending, pending_bytes = connection.execute(query + "pending").fetchone()
            parked, parked_bytes = connection.execute(query + "parked").fetchone()
        yield Contents(path.name, state, pending, parked, pending_bytes + parked_bytes)
    for path in sorted(folder.glob("*.damaged-*")):
        if not path.name.endswith(("-wal", "-shm", "-journal")):
            yield Contents(path.name, "damaged", bytes=path.stat().st_size)


def rows(folder: Path) -> Iterator[Row]:
    """All sound events of a folder; those that are parked have a `code`."""
    for path in spool_files(folder):
        with _opened(path) as connection:
            for table in ("pending", "parked"):
                found = connection.execute(f"SELECT * FROM {table} ORDER BY seq")  # noqa: S608  # names of ours
                yield from (row for row in (Row(*raw) for raw in found) if row.sound)


def requeue(folder: Path, event_id: str | None = None) -> int:
    """Let parked events, or one of them, wait to be sent again; how many."""
    count = 0
    for path in spool_files(folder):
        with _opened(path) as connection:
            chosen = "WHERE ?1 IS NULL OR id = ?1"
            connection.execute("BEGIN IMMEDIATE")
            fields = "id, log_id, content, crc"
            move = f"INSERT INTO pending ({fields}) SELECT {fields} FROM parked {chosen}"  # noqa: S608  # names of ours
            connection.execute(move + " ORDER BY seq", (event_id,))
            gone = connection.execute(f"DELETE FROM parked {chosen}", (event_id,))  # noqa: S608  # names of ours
            connection.execute("COMMIT")
            count += gone.rowcount
    return count


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file; one that was left is owned meanwhile, and mended if it is damaged."""
    file = SpoolFile.claim(path)
    try:
        if file is not None:
            Spool(file, notice_damage).leave()
        with closing(connect(path, uri="mode=rw")) as connection:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            yield connection
    except sqlite3.Error as error:
        raise DeliveryError(f"{path.name} cannot be read ({error}).") from error
    finally:
        if file is not None:
            file.release(remove=False)
