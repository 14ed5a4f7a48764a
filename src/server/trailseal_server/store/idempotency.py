"""Answers kept for requests that carry an `Idempotency-Key`.

Rules:
- One row for each API key and idempotency key. `begin` claims it before the work is done: a second
  request meanwhile is told to come back, one after it gets the first one's answer.
- A claim of a server that died is void after `CLAIM`; an answer is kept for `KEPT`.
"""

from sqlalchemy import ColumnElement, Connection, delete, select, update

from ..problems import Problem
from . import micros
from .inserts import insert_missing
from .schema import idempotency

KEPT = 24 * 3600 * 1_000_000  # microseconds
CLAIM = 60 * 1_000_000  # microseconds: no creating call takes nearly as long
PENDING = 0  # the status of a claim
MAX_SWEEP = 100  # rows removed with each claim: the table stays as large as a day's calls


def begin(connection: Connection, key_id: str, key: str, digest: bytes) -> tuple[int, bytes] | None:
    """The status and body of the first answer, or None: the claim is this request's now.

    Raises Problem: idempotency_conflict for another request, unavailable for one under way.
    """
    now = micros.now()
    old = select(idempotency.c.key_id, idempotency.c.idempotency_key)
    gone = old.where(idempotency.c.expires_at <= now).limit(MAX_SWEEP)
    for row in connection.execute(gone.with_for_update(skip_locked=True)):
        connection.execute(delete(idempotency).where(_is(*row)))
    values = {"key_id": key_id, "idempotency_key": key, "digest": digest}
    claim = {"status": PENDING, "response": b"", "expires_at": now + CLAIM}
    over = _is(key_id, key) & (idempotency.c.expires_at <= now)
    connection.execute(delete(idempotency).where(over))
    if insert_missing(connection, idempotency, {**values, **claim}):
        return None
    found = connection.execute(select(idempotency).where(_is(key_id, key))).one()
    if found.digest != digest:
        raise Problem("idempotency_conflict", "The Idempotency-Key was used for another request")
    if found.status == PENDING:
        raise Problem("unavailable", "The first request is under way; try again", retry_after=1.0)
    return found.status, found.response


def end(connection: Connection, key_id: str, key: str, status: int, response: bytes) -> None:
    """Keep the answer."""
    values = {"status": status, "response": response, "expires_at": micros.now() + KEPT}
    connection.execute(update(idempotency).where(_is(key_id, key)).values(values))


def drop(connection: Connection, key_id: str, key: str) -> None:
    """Give the claim back: nothing was created."""
    connection.execute(delete(idempotency).where(_is(key_id, key)))


def _is(key_id: str, key: str) -> ColumnElement[bool]:
    return (idempotency.c.key_id == key_id) & (idempotency.c.idempotency_key == key)
