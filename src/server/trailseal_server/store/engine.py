"""Opening the database, and its transactions.

Rules:
- `Store.open(url)` brings the schema up to date, inside one transaction that other starting
  processes wait for.
- Every statement runs inside `read()` (a snapshot) or `write()`. A commit is on disk when `write()`
  returns, whatever the server's configuration says.
- On SQLite `write()` holds the database's one write lock from its first moment: a writer never has
  to upgrade, hence never fails with "database is locked" while the lock's holder is quick. WAL with
  synchronous=FULL. A process writes over one connection: its page cache survives from one write to
  the next, while readers', which every commit empties, stay small.
- On PostgreSQL `write()` is READ COMMITTED: a statement behind a row's lock sees what the lock's
  last holder wrote. Locks are rows' locks; only the migration takes one of the whole database.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .migrate import upgrade

BUSY_TIMEOUT_MS = 10_000  # a writer of another process holds the lock for one batch, never longer
LOCK_POLL_S = 0.0005  # between looks at a lock that is held for milliseconds
LOCK_POLLS = 32  # of a longer wait its 32nd part: a look costs some 40 µs
MAX_LOCK_POLL_S = 0.002  # or whoever waits longest would never find it free
IDLE_TIMEOUT_MS = 60_000  # of a transaction: a process that hangs gives its locks back
WAL_AUTOCHECKPOINT_PAGES = 16_384  # 64 MiB: fewer, larger checkpoints measured fastest
CACHED_STATEMENTS = 256  # of each connection: an append has some 120 (append_sqlite.py)
WRITER_CACHE_KIB = 32_768  # an append's pages: what does not fit is written twice
READER_CACHE_KIB = 2_048  # the operating system caches the file; measured no slower than 32 MiB
POOL_SIZE = 16  # readers beside the writer; both engines let them all run at once
POOL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10
PRIVATE = 0o600  # the file holds everybody's events; SQLite gives its WAL the same mode

_WRITE = {"trailseal_write": True}
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_MIGRATION_LOCK = 0x7472_6169_6C73_6561  # "trailsea", for all that migrate this database

_POSTGRESQL = (
    "SET synchronous_commit = on",
    f"SET lock_timeout = {BUSY_TIMEOUT_MS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}",
    # Reads end early and look at what an index finds (lookups.py). Their costs as the planner sees
    # them are far too high: it would compile them, share them among workers, or read whole tables.
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    "SET enable_seqscan = off",
)

# SQLSTATE classes that pass by themselves: connections, resources, operators, deadlocks, locks
_PASSING = ("08", "53", "57", "40", "55")
_DISK_FULL = "53100"


class Store:
    """A database of TrailSeal. The constructor takes engines as they are; use `open`."""

    def __init__(self, engine: Engine, writer: Engine | None = None) -> None:
        self.engine = engine
        self._writer = writer or engine

    @classmethod
    def open(cls, url: str) -> "Store":
        """Open and migrate the database at an SQLAlchemy URL, such as `sqlite:////var/lib/a.db` or
        `postgresql+psycopg://user@host/name`.

        Raises ValueError for an engine that is not supported, an SQLite database in memory or a
        PostgreSQL one that is not UTF-8, OSError where the database cannot be opened.
        """
        parsed, store = make_url(url), cls.attach(url)
        try:
            with store.write() as connection:
                if connection.dialect.name == "postgresql":
                    _lock_for_migration(connection)
                upgrade(connection)
        except DBAPIError as error:
            store.close()
            reason = f"the database {parsed.database} cannot be opened: {error.orig}"
            raise OSError(reason) from error
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def attach(cls, url: str) -> "Store":
        """A database as it is, not migrated; nothing but its URL is checked yet (ValueError)."""
        parsed = make_url(url)
        return cls(*_ENGINES[_kind(parsed)](parsed))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and writes nothing."""
        snapshot = _SNAPSHOT if self.engine.dialect.name == "postgresql" else {}
        with self.engine.connect() as connection, connection.execution_options(**snapshot).begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, or undone if it raises."""
        with self._writer.connect() as connection, connection.execution_options(**_WRITE).begin():
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """The writer's connection with no transaction begun, for VACUUM and the like."""
        with self._writer.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection; the store can be used again all the same."""
        self.engine.dispose()
        self._writer.dispose()


def trouble(error: BaseException) -> Literal["full", "busy"] | None:
    """What a database's error means for those who might try again: the disk is full, or the
    database is busy, away or restarting; None for any other error."""
    if isinstance(error, PoolTimeoutError):
        return "busy"
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        passing = state.startswith(_PASSING)
        return "full" if state == _DISK_FULL else "busy" if passing else None
    reason = str(error.orig)
    if isinstance(error.orig, sqlite3.OperationalError):
        busy = "locked" in reason or "busy" in reason
        return "full" if "full" in reason else "busy" if busy else None
    return "busy" if error.connection_invalidated or "connection" in reason else None


def _kind(url: URL) -> str:
    kind = url.get_backend_name()
    if kind not in _ENGINES:
        raise ValueError(f"database engine {kind!r} is not supported")
    if kind == "postgresql" and url.get_driver_name() != "psycopg":
        raise ValueError("a PostgreSQL database needs postgresql+psycopg://user@host/name")
    if kind == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ValueError("an SQLite database needs a file: sqlite:///path/to/trailseal.db")
    return kind


def _open_sqlite(url: URL) -> tuple[Engine, Engine]:
    with suppress(FileExistsError):
        os.close(os.open(url.database or "", os.O_CREAT | os.O_EXCL, PRIVATE))
    readers = _sqlite(url, READER_CACHE_KIB, pool_size=POOL_SIZE, pool_timeout=POOL_TIMEOUT_S)
    timeout = BUSY_TIMEOUT_MS / 1000
    writer = _sqlite(url, WRITER_CACHE_KIB, pool_size=1, max_overflow=0, pool_timeout=timeout)
    return readers, writer


def _sqlite(url: URL, cache_kib: int, **pool: Any) -> Engine:
    engine = create_engine(
        url,
        pool_use_lifo=True,  # one reader fills one page cache, not all of them in turn
        hide_parameters=True,
        connect_args={"cached_statements": CACHED_STATEMENTS},
        **pool,
    )

    def prepare(connection: DBAPIConnection, _record: Any) -> None:
        _prepare_sqlite(connection, cache_kib)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: URL) -> tuple[Engine]:
    # No prepared statements: poolers do not keep them, and a search needs a plan of its own.
    given = {"prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_S}
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        pool_timeout=POOL_TIMEOUT_S,
        pool_use_lifo=True,  # the one used last: its process has tables and index in its caches
        pool_pre_ping=True,  # a database that was restarted costs no request its answer
        hide_parameters=True,
        connect_args={"application_name": "trailseal", **given},
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return (engine,)


_ENGINES = {"sqlite": _open_sqlite, "postgresql": _open_postgresql}


def _prepare_postgresql(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("; ".join(_POSTGRESQL))
    cursor.close()
    connection.commit()


def _lock_for_migration(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise ValueError(f"a PostgreSQL database must have the encoding UTF8, not {encoding}")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def _prepare_sqlite(connection: DBAPIConnection, cache_kib: int) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - narrows for the type checker
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not behind our back
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={WAL_AUTOCHECKPOINT_PAGES}",
        f"cache_size=-{cache_kib}",
        "foreign_keys=ON",
        "secure_delete=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("trailseal_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite's own wait sleeps up to 100 ms at a time, while the lock goes from writer to writer.
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0").close()
    try:
        _lock(driver)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises the reason, as SQLAlchemy does
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").close()


def _lock(driver: sqlite3.Connection) -> None:
    """Begin, as soon as the write lock is free within BUSY_TIMEOUT_MS."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < BUSY_TIMEOUT_MS / 1000:
        try:
            driver.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                return
            time.sleep(min(max(LOCK_POLL_S, waited / LOCK_POLLS), MAX_LOCK_POLL_S))
        else:
            return
