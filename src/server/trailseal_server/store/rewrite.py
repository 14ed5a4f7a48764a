"""Writing events again without what was taken out of them, under the lock of the log's row.

Rules:
- Only the row's content and what is derived from it change: body, seed, salts, redactions,
  `occurred_at`, terms. Entry and leaf hash stay.
- The terms index keeps no content, so the old terms are derived again to be taken out.
- A name that no event of the log holds any more goes. Writers remember names, and readers what they
  found (known.py): the log's `names_epoch` grows, so that every process forgets.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, delete, text, update

from ..commitments import prepare
from ..redaction import Content
from . import append_postgresql, terms
from .logs import LogRow
from .records import EventRow, packed
from .schema import events, logs, names
from .terms import MAX_NAME, Term, Terms, row_id, storable


class Change(NamedTuple):
    """An event's row, and what takes the place of its content."""

    row: EventRow
    content: Content


_UPDATE = (
    update(events)
    .where(events.c.log_id == bindparam("of_log"), events.c.idx == bindparam("at"))
    .values(
        body=bindparam("new_body"),
        seed=None,
        salts=bindparam("new_salts"),
        redactions=bindparam("new_redactions"),
        occurred_at=bindparam("new_occurred_at"),
    )
)
_FTS5_DELETE = text(
    "INSERT INTO terms (terms, rowid, exact, text) VALUES ('delete', :row, :exact, :text)"
)
_FTS5_INSERT = text("INSERT INTO terms (rowid, exact, text) VALUES (:row, :exact, :text)")
_FTS5_HELD = text(
    "SELECT 1 FROM terms WHERE terms MATCH :token AND rowid BETWEEN :low AND :high LIMIT 1"
)
_TSVECTOR_HELD = text(
    "SELECT 1 FROM terms WHERE log_id = :log_id AND doc @@ CAST(:token AS tsquery) LIMIT 1"
)


def rewrite(connection: Connection, log: LogRow, changes: Sequence[Change]) -> None:
    """Put the changes in the place of what was."""
    if not changes:
        return
    rows, old, new = [], [], []
    for row, given in changes:
        event = orjson.loads(given.body)
        by = row.ingested_by, row.channel_id
        old.append(terms.derive(prepare(orjson.loads(row.body)), *by))
        new.append(terms.derive(prepare(event), *by))
        values = {
            "of_log": log.log_id,
            "at": row.idx,
            "new_body": given.body,
            "new_salts": given.salts,
            "new_redactions": packed(given.redactions or b"[]"),
            "new_occurred_at": row.occurred_at if "occurred_at" in event else None,
        }
        rows.append(values)
    connection.execute(_UPDATE, rows)
    _index(connection, log, [change.row.idx for change in changes], old, new)
    gone = {name for each in old for name in each.names if len(name[1]) <= MAX_NAME}
    _forget(connection, log, gone - {name for each in new for name in each.names})


def _index(
    connection: Connection,
    log: LogRow,
    indexes: Sequence[int],
    old: Sequence[Terms],
    new: Sequence[Terms],
) -> None:
    if connection.dialect.name == "postgresql":
        append_postgresql.replace_terms(connection, log, indexes, new)
        return
    for statement, each in ((_FTS5_DELETE, old), (_FTS5_INSERT, new)):
        found = zip(indexes, each, strict=True)
        connection.execute(
            statement,
            [{"row": row_id(log.log_no, i), "exact": t.exact, "text": t.text} for i, t in found],
        )


def _forget(connection: Connection, log: LogRow, gone: Iterable[Term]) -> None:
    for field, value, _ in (term for term in gone if not _held(connection, log, term)):
        mine = (names.c.log_id == log.log_id) & (names.c.field == field)
        connection.execute(delete(names).where(mine, names.c.value == storable(value)))
    epoch = logs.c.names_epoch + 1
    connection.execute(update(logs).where(logs.c.log_id == log.log_id).values(names_epoch=epoch))


def _held(connection: Connection, log: LogRow, term: Term) -> bool:
    """Whether an event of the log still holds a name."""
    if connection.dialect.name == "postgresql":
        token = f"'{log.log_no}={term[2]}'"
        found = connection.execute(_TSVECTOR_HELD, {"log_id": log.log_id, "token": token})
    else:
        low, high = terms.row_range(log.log_no, log.size)
        given = {"token": f'exact:"{term[2]}"', "low": low, "high": high}
        found = connection.execute(_FTS5_HELD, given)
    return found.first() is not None
