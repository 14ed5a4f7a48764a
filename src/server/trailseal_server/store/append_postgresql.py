"""The append's part that speaks PostgreSQL: one look for known ids, then COPY.

COPY is the fastest way in, and what it takes needs no quoting here: events travel in the binary
format, and a document of the terms index holds no character that the text format would escape.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from .driver import cursor
from .logs import LogRow
from .terms import Terms
from .tsvector import document
from .usage import COUNT, Counted

_EXISTING = (
    "SELECT event_id, body, seed IS NULL, idx, received_at, leaf_hash FROM events "
    "WHERE log_id = %s AND event_id = ANY(%s::text[])"
)
_EVENTS = (
    "COPY events (log_id, idx, event_id, received_at, occurred_at, sent_at, body, seed, salts, "
    "redactions, entry, leaf_hash, ingested_by, channel_id, imported) FROM STDIN (FORMAT BINARY)"
)
_TYPES = (
    *("text", "int8", "text", "int8", "int8", "int8", "bytea", "text", "bytea"),
    *("bytea", "bytea", "bytea", "text", "text", "bool"),
)
_TERMS = "COPY terms (log_id, idx, doc) FROM STDIN"
_NAMES = (
    "INSERT INTO names (log_id, field, value, folded, token) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)
_GROW = "UPDATE logs SET size = %s, edge = %s, last_received_at = %s WHERE log_id = %s"


def existing(connection: Connection, log_id: str, ids: Sequence[str]) -> Sequence[Any]:
    """What the log holds under these ids."""
    with cursor(connection) as on:
        return list(on.execute(_EXISTING, (log_id, list(ids))))


def insert(  # noqa: PLR0917 - all that one append writes
    connection: Connection,
    log: LogRow,
    rows: Sequence[tuple[Any, ...]],
    terms: Sequence[Terms],
    names: Sequence[tuple[str, ...]],
    grown: tuple[int, bytes, int],
    counted: Counted,
) -> None:
    """Write event rows (in the order of `_EVENTS`), their terms from the log's size on, new names,
    the log's size, edge and time, and its usage."""
    with cursor(connection) as on:
        with on.copy(_EVENTS) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
        with on.copy(_TERMS) as copy:
            for index, each in enumerate(terms, log.size):
                copy.write(f"{log.log_id}\t{index}\t{document(log.log_no, each)}\n")
        if names:
            on.execute(_NAMES, [list(column) for column in zip(*names, strict=True)])
        on.execute(_GROW, (*grown, log.log_id))
        on.execute(COUNT.format("%s", "%s", "%s", "%s"), counted)
