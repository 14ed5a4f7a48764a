"""The append's part that speaks SQLite: plain statements of many rows each.

`executemany` would let go of the interpreter's lock at every row, and get it back only when no
other thread computes, all the while holding the database's.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import Connection

from .driver import cursor
from .logs import LogRow
from .terms import Terms, row_id
from .usage import COUNT, Counted

# Rows of one statement, so that the few that are prepared serve again; below the last, each number
# has its own. A whole batch is one statement: with 15 columns half of SQLite's 32,766 variables.
SIZES = (1000, 512, 256, 128, 64, 33)
STATEMENTS = 3 * (33 + len(SIZES))

_EXISTING = (
    "SELECT event_id, body, seed IS NULL, idx, received_at, leaf_hash FROM events "
    "WHERE log_id = ? AND event_id IN (SELECT value FROM json_each(?))"
)
_EVENTS = (
    "INSERT INTO events (log_id, idx, event_id, received_at, occurred_at, sent_at, body, seed,"
    " salts, redactions, entry, leaf_hash, ingested_by, channel_id, imported) VALUES "
)
_TERMS = "INSERT INTO terms (rowid, exact, text) VALUES "
_NAMES = "INSERT OR IGNORE INTO names (log_id, field, value, folded, token) VALUES "
_GROW = "UPDATE logs SET size = ?, edge = ?, last_received_at = ? WHERE log_id = ?"


def existing(connection: Connection, log_id: str, ids: Sequence[str]) -> Sequence[Any]:
    """What the log holds under these ids."""
    with cursor(connection) as on:
        return list(on.execute(_EXISTING, (log_id, orjson.dumps(ids).decode())))


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
    first = row_id(log.log_no, log.size)
    indexed = [(row, each.exact, each.text) for row, each in enumerate(terms, first)]
    with cursor(connection) as on:
        _insert(on, _EVENTS, rows)
        _insert(on, _TERMS, indexed)
        _insert(on, _NAMES, names)
        on.execute(_GROW, (*grown, log.log_id))
        on.execute(COUNT.format("?", "?", "?", "?"), counted)


def _insert(on: Any, head: str, rows: Sequence[tuple[Any, ...]]) -> None:
    at = 0
    while left := len(rows) - at:
        count = next((size for size in SIZES if size <= left), left)
        statement = _statement(head, len(rows[0]), count)
        on.execute(statement, tuple(chain.from_iterable(rows[at : at + count])))
        at += count


@lru_cache(maxsize=STATEMENTS)
def _statement(head: str, columns: int, rows: int) -> str:
    return head + ", ".join([f"({', '.join('?' * columns)})"] * rows)
