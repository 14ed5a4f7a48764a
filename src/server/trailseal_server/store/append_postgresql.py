"""The append's part that speaks PostgreSQL: one look for known ids, then COPY.

COPY is the fastest way in, and what it takes needs no quoting here: events travel in the binary
format, and a document of the terms index holds no character that the text format would escape.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from .logs import LogRow
from .terms import Terms
from .tsvector import document

_EXISTING = text(
    "SELECT event_id, body, seed IS NULL, idx, received_at, leaf_hash FROM events "
    "WHERE log_id = :log_id AND event_id = ANY(CAST(:ids AS text[]))"
)
_EVENTS = (
    "COPY events (log_id, idx, event_id, received_at, occurred_at, sent_at, body, seed, entry,"
    " leaf_hash, ingested_by, channel_id, imported) FROM STDIN (FORMAT BINARY)"
)
_TYPES = (
    *("text", "int8", "text", "int8", "int8", "int8", "bytea", "text", "bytea"),
    *("bytea", "text", "text", "bool"),
)
_TERMS = "COPY terms (log_id, idx, doc) FROM STDIN"
_NAMES = (
    "INSERT INTO names (log_id, field, value, folded, token) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)


def existing(connection: Connection, log_id: str, ids: Sequence[str]) -> Iterable[Any]:
    """What the log holds under these ids."""
    return connection.execute(_EXISTING, {"log_id": log_id, "ids": list(ids)})


def insert(
    connection: Connection,
    log: LogRow,
    rows: Sequence[tuple[Any, ...]],
    terms: Sequence[Terms],
    names: Sequence[tuple[str, ...]],
) -> None:
    """Write event rows (in the order of `_EVENTS`), the terms from the log's size on, and names."""
    with _driver(connection) as cursor:
        with cursor.copy(_EVENTS) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        with cursor.copy(_TERMS) as copy:
            for index, each in enumerate(terms, log.size):
                copy.write(f"{log.log_id}\t{index}\t{document(log.log_no, each)}\n")
        if names:
            cursor.execute(_NAMES, [list(column) for column in zip(*names, strict=True)])


@contextmanager
def _driver(connection: Connection) -> Iterator[Any]:
    """The driver's own cursor, in the same transaction; raises as SQLAlchemy does."""
    base = connection.dialect.loaded_dbapi.Error
    try:
        with closing(connection.connection.cursor()) as cursor:
            yield cursor
    except base as error:
        raise DBAPIError.instance("COPY", None, error, base, dialect=connection.dialect) from error
