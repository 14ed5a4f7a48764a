"""Making sure that the bytes of what was taken out are gone.

- SQLite overwrites what it frees (secure_delete). The terms index keeps deleted words until its
  segments are merged: they are, a part in each transaction, so that writers come in between. VACUUM
  writes the whole file anew, beside which nobody writes; then the WAL is emptied into it.
- PostgreSQL: VACUUM takes the old versions out of tables and indexes. WAL, replicas that lag, and
  backups keep them until they age out.
"""

import time

from sqlalchemy import text

from .driver import cursor
from .engine import Store

MERGED_PAGES = 500  # of the terms index, in one transaction
MAX_MERGES = 20_000  # 40 GB: no index is nearly as large; it ends although others keep writing
CHECKPOINT_DEADLINE_S = 10.0  # for readers that hold the WAL
CHECKPOINT_POLL_S = 0.05
TABLES = ("events", "terms", "names", "operations", "searches", "legal_holds", "idempotency")

_MERGE = text("INSERT INTO terms (terms, rank) VALUES ('merge', :pages)")
_CHANGES = text("SELECT total_changes()")


def compact(store: Store) -> bool:
    """What can be done beside writers; False if a reader kept the WAL from being emptied.
    On PostgreSQL, autovacuum's work: nothing is done here."""
    if store.engine.dialect.name != "sqlite":
        return True
    for _ in range(MAX_MERGES):
        with store.write() as connection:
            before = connection.execute(_CHANGES).scalar_one()
            connection.execute(_MERGE, {"pages": -MERGED_PAGES})
            # sqlite.org/fts5.html#the_merge_command: fewer than two means that all is merged
            if connection.execute(_CHANGES).scalar_one() - before < 2:
                break
    return _empty_wal(store)


def vacuum(store: Store) -> bool:
    """Everything; False if a reader kept the WAL from being emptied."""
    compact(store)
    with store.alone() as connection:
        if connection.dialect.name == "postgresql":
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            for table in TABLES:
                outside.exec_driver_sql(f"VACUUM {table}")
            return True
        with cursor(connection) as on:
            on.execute("VACUUM")
    return _empty_wal(store)


def _empty_wal(store: Store) -> bool:
    end = time.monotonic() + CHECKPOINT_DEADLINE_S
    with store.alone() as connection, cursor(connection) as on:
        while True:
            ((busy, _, _),) = on.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not busy or time.monotonic() > end:
                return not busy
            time.sleep(CHECKPOINT_POLL_S)
