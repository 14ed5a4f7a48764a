"""The append's part that speaks PostgreSQL: one look for known ids, then COPY.

COPY in the binary format is the fastest way in.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

import orjson
from sqlalchemy import Connection

from .driver import cursor
from .logs import LogRow
from .terms import Terms
from .tsvector import document
from .usage import COUNT, Counted

# One look into the index for each id. With `= ANY` a planner that has no statistics yet reads the
# whole log, under its lock: 40 ms at 100,000 events.
_EXISTING = (
    "SELECT known.* FROM json_array_elements_text(%s::json) AS sent(id) CROSS JOIN LATERAL ("
    "SELECT event_id, body, seed IS NULL, idx, received_at, leaf_hash FROM events "
    "WHERE log_id = %s AND event_id = sent.id LIMIT 1) AS known"
)
_EVENTS = (
    "COPY events (log_id, idx, event_id, received_at, occurred_at, sent_at, body, seed, salts, "
    "redactions, entry, leaf_hash, ingested_by, channel_id, imported) FROM STDIN (FORMAT BINARY)"
)
_TYPES = (
    *("text", "int8", "text", "int8", "int8", "int8", "bytea", "text", "bytea"),
    *("bytea", "bytea", "bytea", "text", "text", "bool"),
)
_TERMS = "COPY terms (log_id, idx, doc) FROM STDIN (FORMAT BINARY)"
_FORGET = "DELETE FROM terms WHERE log_id = %s AND idx = ANY(%s)"
# The binary format of COPY (postgresql.org/docs/15/sql-copy.html): no flags, no extension of the
# header; of a row the number of its fields, and of each its length and its bytes.
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NAMES = (
    "INSERT INTO names (log_id, field, value, folded, token) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)
_GROW = "UPDATE logs SET size = %s, edge = %s, last_received_at = %s WHERE log_id = %s"


def existing(connection: Connection, log_id: str, ids: Sequence[str]) -> Sequence[Any]:
    """What the log holds under these ids."""
    with cursor(connection) as on:
        return list(on.execute(_EXISTING, (orjson.dumps(ids).decode(), log_id)))


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
        copy_terms(on, log.log_id, log.log_no, enumerate(terms, log.size))
        if names:
            on.execute(_NAMES, [list(column) for column in zip(*names, strict=True)])
        on.execute(_GROW, (*grown, log.log_id))
        on.execute(COUNT.format("%s", "%s", "%s", "%s"), counted)


def replace_terms(
    connection: Connection, log: LogRow, indexes: Sequence[int], terms: Sequence[Terms]
) -> None:
    """Write other terms in the place of those of the events at these indexes."""
    with cursor(connection) as on:
        on.execute(_FORGET, (log.log_id, list(indexes)))
        copy_terms(on, log.log_id, log.log_no, zip(indexes, terms, strict=True))


def copy_terms(on: Any, log_id: str, log_no: int, terms: Iterable[tuple[int, Terms]]) -> None:
    """Write the terms of a log's events at these indexes, over the driver's cursor."""
    name = log_id.encode()
    head = Struct(f"!hi{len(name)}siqi")
    rows = [_HEAD]
    for index, each in terms:
        doc = document(log_no, each)
        rows += (head.pack(3, len(name), name, 8, index, len(doc)), doc)
    rows.append(_END)
    with on.copy(_TERMS) as copy:
        copy.write(b"".join(rows))
