"""Spools that are made, left as a kill leaves them, and adopted."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from trailseal.delivery._file import SpoolFile, spool_files
from trailseal.delivery.batching import Item, Limits
from trailseal.delivery.spool import Spool

WHERE = "http://server.test"


def new(folder: Path, lost: list[int], **options: Any) -> Spool:
    """A spool in a file of its own."""
    return Spool(SpoolFile.create(folder, WHERE), lost.append, **options)


def adopt(folder: Path, lost: list[int]) -> Spool:
    """The only orphan of a folder."""
    [path] = spool_files(folder, WHERE)
    file = SpoolFile.claim(path)
    assert file is not None
    return Spool(file, lost.append)


def crash(spool: Spool) -> None:
    """Let go of the lock and of the files, as they are, as a killed process does."""
    kept = Path(tempfile.mkdtemp())
    for side in ("", "-wal"):
        shutil.copy2(f"{spool.path}{side}", kept / f"copy{side}")
    os.close(spool._db._file._lock)
    spool._db.leave()
    for side in ("-shm",):
        Path(f"{spool.path}{side}").unlink(missing_ok=True)
    for side in ("", "-wal"):
        shutil.copy2(kept / f"copy{side}", f"{spool.path}{side}")
    shutil.rmtree(kept)


def everything(spool: Spool) -> list[Item]:
    """All that waits, in order."""
    found = []
    while batch := spool.take(Limits(), (), ()):
        found += batch
    spool.release(found)
    return found


def on_disk(spool: Spool) -> tuple[Path, bytearray]:
    """The database with all that is in its log, as it lies on the disk."""
    spool._db.run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    return spool.path, bytearray(spool.path.read_bytes())


def damaged(spool: Spool, raw: bytes) -> None:
    """Give a running spool another content, which it has to read."""
    spool.path.write_bytes(raw)
    connection = spool._db._connection
    assert connection is not None
    connection.execute("PRAGMA shrink_memory")


def leaf(raw: bytes, more_than: int = 8) -> int:
    """Where the first page of many rows begins (SQLite file format 1.6)."""
    pages = range(4096, len(raw), 4096)
    return next(at for at in pages if raw[at] == 0x0D and raw[at + 4] > more_than)


def cell(raw: bytes, page: int, number: int) -> int:
    """Where a row of a page begins."""
    return page + int.from_bytes(raw[page + 8 + 2 * number : page + 10 + 2 * number])


def filled(folder: Path, lost: list[int], events: int = 50) -> Spool:
    """A spool with events that span several pages."""
    spool = new(folder, lost)
    for number in range(events):
        spool.enqueue(f"e{number}", None, b"x" * 300, 0.0)
    return spool


def emptied(spool: Spool) -> list[str]:
    """The ids of all that is delivered, five at a time."""
    ids = list[str]()
    while batch := spool.take(Limits(events=5), (), ()):
        ids += [item.id for item in batch]
        spool.settle(batch)
        assert len(ids) < 1000, "it is sent without end"
    return ids


def one_row_changed(spool: Spool) -> tuple[Path, bytearray]:
    """As `on_disk`, with one bit of one event's content changed."""
    path, raw = on_disk(spool)
    raw[cell(raw, leaf(raw), 3) + 100] ^= 1
    return path, raw
