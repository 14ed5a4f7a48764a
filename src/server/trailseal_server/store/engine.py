"""Opening the database, and its transactions.

Rules:
- `Store.open(url)` brings the schema up to date, inside one transaction that other starting
  processes wait for.
- Every statement runs inside `read()` (a snapshot) or `write()`, which on SQLite holds the
  database's one write lock from its first moment: a writer never has to upgrade, hence never fails
  with "database is locked" while the lock's holder is quick.
- A commit is on disk when `write()` returns: WAL with synchronous=FULL.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from .migrate import upgrade

BUSY_TIMEOUT_MS = 10_000  # a writer of another process holds the lock for one batch, never longer
WAL_AUTOCHECKPOINT_PAGES = 16_384  # 64 MiB: fewer, larger checkpoints measured fastest
CACHE_KIB = 32_768  # for each connection
POOL_SIZE = 16  # readers beside the writer; WAL lets them all run at once
POOL_TIMEOUT_S = 30.0
PRIVATE = 0o600  # the file holds everybody's events; SQLite gives its WAL the same mode

_WRITE = {"trailseal_write": True}


class Store:
    """A database of TrailSeal. The constructor takes an engine as it is; use `open`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> "Store":
        """Open and migrate the database at an SQLAlchemy URL, such as `sqlite:////var/lib/a.db`.

        Raises ValueError for an engine that is not supported or an SQLite database in memory,
        OSError where the database cannot be opened.
        """
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            raise ValueError(f"database engine {parsed.get_backend_name()!r} is not supported")
        if parsed.database in (None, "", ":memory:"):
            raise ValueError("an SQLite database needs a file: sqlite:///path/to/trailseal.db")
        with suppress(FileExistsError):
            os.close(os.open(parsed.database, os.O_CREAT | os.O_EXCL, PRIVATE))
        engine = create_engine(parsed, pool_size=POOL_SIZE, pool_timeout=POOL_TIMEOUT_S)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        store = cls(engine)
        try:
            with store.write() as connection:
                upgrade(connection)
        except DBAPIError as error:
            store.close()
            reason = f"the database {parsed.database} cannot be opened: {error.orig}"
            raise OSError(reason) from error
        except BaseException:
            store.close()
            raise
        return store

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.engine.url.database or "")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and writes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, or undone if it raises."""
        with self.engine.connect() as connection, connection.execution_options(**_WRITE).begin():
            yield connection

    def close(self) -> None:
        """Close every idle connection; the store can be used again all the same."""
        self.engine.dispose()


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - narrows for the type checker
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not behind our back
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={WAL_AUTOCHECKPOINT_PAGES}",
        f"cache_size=-{CACHE_KIB}",
        "foreign_keys=ON",
        "secure_delete=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("trailseal_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
