"""The last checkpoint that a server published, remembered outside its database.

Rules:
- An older copy of a database agrees with itself: only what was published since betrays it. So the
  newest checkpoint lies in a file beside the signing key (`<key file>.last`), and the database must
  hold it when a server starts and whenever it signs.
- One is enough, of whichever log: every copy from before it lacks it.
- It is written after the database's commit, so a crash between both leaves one that is there too.
- It says nothing about a database with another origin prefix: those logs are other logs.
"""

import logging
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from .store import Connection, checkpoints
from .store.checkpoints import CheckpointRow

SUFFIX = ".last"
MAX_BYTES = 4096  # a note has under 1 KiB

_NOTE = re.compile(r"(.+)/([^/\n]+)\n([0-9]{1,18})\n[^\n]+\n\n")
_log = logging.getLogger("trailseal.server")


class LastCheckpoint:
    """What this process, and with `path` its predecessors, published last."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.note: str | None = None
        self._published_at = 0
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the file; none, or one that holds no checkpoint, is as if nothing was published."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            note = file.read(MAX_BYTES).decode(errors="replace")
        if _NOTE.match(note):
            self.note = note
        else:
            _log.warning("%s holds no checkpoint: it is not looked at", self.path)

    def remember(self, row: CheckpointRow) -> None:
        """Keep a checkpoint that was committed, unless a newer one is kept."""
        with self._lock:
            if row.published_at < self._published_at:
                return
            self.note, self._published_at = row.note, row.published_at
            if self.path is not None:
                self._write(self.path, row.note)

    def _write(self, path: Path, note: str) -> None:
        # No fsync: it has to outlive a restored database, not a power failure.
        new = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            new.write_text(note)
            new.replace(path)
        except OSError as error:
            _log.warning("%s is not kept up: %s", path, error.strerror)
            with suppress(OSError):
                new.unlink(missing_ok=True)
            self.path = None if isinstance(error, PermissionError) else path


def missing(connection: Connection, prefix: str, note: str | None) -> str | None:
    """Log and size of a published checkpoint that this database, of this prefix, lacks.

    `note` was taken before the transaction began: a checkpoint that was published since may lie
    beyond what the transaction sees.
    """
    found = None if note is None else _NOTE.match(note)
    if found is None or found[1] != prefix:
        return None
    row = checkpoints.at(connection, found[2], int(found[3]))
    return None if row is not None and row.note == note else f"{found[2]} at size {found[3]}"
