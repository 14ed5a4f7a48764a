"""Spools of processes that ended: found, owned, emptied, deleted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trailseal.delivery._file import SpoolFile, spool_files
from trailseal.delivery.spool import Spool
from trailseal.delivery.stats import Counters
from trailseal.errors import DeliveryError

LOOK_EVERY = 30.0  # seconds between looks
MAX_ADOPTED = 16  # files at a time: each holds three handles


class Orphans:
    """Those of one destination; `spools` are ours now, `more` says that there are others."""

    def __init__(
        self, destination: str, open_: Callable[[SpoolFile], Spool], counters: Counters
    ) -> None:
        self._destination, self._open, self._counters = destination, open_, counters
        self.spools: list[Spool] = []
        self.more = False
        self.looks = 0
        self._look_at = 0.0
        self._seen: dict[Path, int] = {}  # those without waiting events, by their last change

    def look_soon(self) -> None:
        """Do not wait for the next look."""
        self._look_at = 0.0

    def look(self, folder: Path, own: Spool | None) -> None:
        """Adopt what lies in the folder, if it is time; count what was requeued in our own."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        self.more = False
        with self._told():
            if own:
                self._counters.add(adopted=own.refresh())
        ours = {spool.path for spool in (own, *self.spools) if spool}
        for path in spool_files(folder, self._destination):
            with self._told():  # one that cannot be used keeps none of the others waiting
                # One that was left in the middle of its mending has no such file: see `finish`.
                changed = path.stat().st_mtime_ns if path.exists() else 0
                if self._seen.get(path) == changed or path in ours:
                    continue
                if len(self.spools) >= MAX_ADOPTED:
                    self.more = True
                    break
                if (file := SpoolFile.claim(path)) is not None:
                    self._adopt(file)
                    self._seen[path] = changed
        self.looks += 1

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, DeliveryError) as error:
            self._counters.last_error = type(error).__name__

    def _adopt(self, file: SpoolFile) -> None:
        try:
            spool = self._open(file)
        except DeliveryError:
            file.release(remove=False)
            raise
        self._counters.add(adopted=spool.pending())
        if spool.pending():
            self.spools.append(spool)
        else:
            spool.close()

    def close_empty(self) -> bool:
        """Give up what is empty now; whether it is time to look again, for there are more."""
        for spool in [each for each in self.spools if not each.pending()]:
            self.spools.remove(spool)
            with contextlib.suppress(OSError):  # of its folder; another process finds it again
                spool.close()
        if self.more and not self.spools:
            self.look_soon()
            return True
        return False
