"""What the engine's terms index needs beside the appends: done by the writer between two of them,
when it holds no lock that another writer waits for.

PostgreSQL keeps what is new for a GIN index in a pending list, and puts it in its place when an
append finds the list long: then all other appends to the log wait. So it is put there before.
"""

import logging

from ..failures import account
from .engine import Store

EVENTS = 1_000  # about 1 MiB of pending lexemes: 0.2 ms for a search to read
_CLEAN = "SELECT gin_clean_pending_list('terms_by_doc')"
_log = logging.getLogger("trailseal.server")


class Upkeep:
    """The upkeep of one database by one writer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._needed = store.engine.dialect.name == "postgresql"
        self._events = 0
        self._said: str | None = None  # of the last failure: not again for each thousand events

    def after(self, events: int) -> None:
        """So many events were appended. Never raises: what is not done now is done later."""
        self._events += events
        if not self._needed or self._events < EVENTS:
            return
        self._events = 0
        try:
            with self._store.write() as connection:
                connection.exec_driver_sql(_CLEAN)
        except Exception as error:  # noqa: BLE001 - the index is whole with or without it
            said = account(error)
            if said != self._said:
                _log.warning("the terms index's pending list stays as it is\n%s", said)
            self._said = said
