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
    assert spool._db._connection is not None
    spool._db._connection.close()
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
