"""What the engine's terms index needs beside the appends, done in a thread of its own and under no
lock that a writer waits for.

PostgreSQL keeps what is new for a GIN index in a pending list, and puts it in its place when an
append finds the list long: then all other appends to the log wait. So it is put there before. The
more at once, the less for each event: a word that many hold is looked for once, and written once.
A clean ends when it has caught up with the appends; so they wait for one that falls behind.
"""

import threading

from ..background import Background
from .engine import Store

MOST = 4_000  # events of a busy process: 4 MiB, 0.8 ms for a search to read
FEW = 1_000  # at rest
PAUSE_S = 0.5  # between looks
PATIENCE_S = 5.0  # of a writer with a clean; it takes some tenths of a second
_CLEAN = "SELECT gin_clean_pending_list('terms_by_doc')"


class Upkeep(Background):
    """The upkeep of one database by one writer's process."""

    def __init__(self, store: Store) -> None:
        super().__init__("trailseal-upkeep", PAUSE_S)
        self._store = store
        self._needed = store.engine.dialect.name == "postgresql"
        self._idle = threading.Event()
        self._idle.set()
        self._appended = 0  # events, counted by the writer
        self._seen = 0  # of them at the last look
        self._tried = 0  # of them should be in their places

    def start(self) -> None:
        """Start the thread if the engine needs it."""
        if self._needed:
            super().start()

    def after(self, events: int) -> None:
        """So many events were appended, says the one thread that does so; it waits if they are many
        and those before are still being put in their places."""
        self._appended += events
        if self._needed and self.pending >= MOST:
            self._idle.wait(PATIENCE_S)
            self.wake()

    @property
    def pending(self) -> int:
        """Events that this process appended since the list was to be emptied."""
        return self._appended - self._tried

    def _round(self) -> bool:
        appended, at_rest = self._appended, self._appended == self._seen
        self._seen = appended
        if appended - self._tried >= (FEW if at_rest else MOST):
            self._idle.clear()
            self._tried = appended  # whatever comes of it: what fails is not tried all the time
            try:
                with self._store.write() as connection:
                    connection.exec_driver_sql(_CLEAN)
            finally:
                self._idle.set()
        return False
