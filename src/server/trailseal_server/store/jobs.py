"""Operations of kind `export` in the database: a queue that outlives the server.

Rules:
- A job is `pending`, then `running` under a lease that its worker renews; a worker whose lease ran
  out has died, and the job is claimed again. After `MAX_ATTEMPTS` claims it has failed.
- Only the holder of the lease changes a running job: every such update names the worker, and says
  whether it still was the holder (a cancelled job has none).
- Another tenant's job is not found. A job ends at `expires_at`: its content is gone (410); the row
  goes `LIFETIME` later.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from ..auth import Caller
from ..problems import Problem
from . import Store, micros, reads
from .schema import operations

LIFETIME = 7 * 86_400 * 1_000_000  # microseconds: a week to download it
LEASE = 60 * 1_000_000  # microseconds: renewed every chunk, so this is far beyond a slow disk
MAX_ATTEMPTS = 5  # a job that killed five workers would kill the sixth
MAX_SWEEP = 100  # rows removed at a time: a short write transaction

JobRow = Row[Any]
ACTIVE = ("pending", "running")

_EXPORT = operations.c.kind == "export"


def create(connection: Connection, values: Mapping[str, Any]) -> JobRow:
    """Queue a job; `values` are log_id, operation_id, key_id and request (bytes)."""
    now = micros.now()
    job = {"kind": "export", "state": "pending", "created_at": now, "expires_at": now + LIFETIME}
    connection.execute(insert(operations).values({**values, **job}))
    return connection.execute(_by_id(values["operation_id"])).one()


def find(connection: Connection, caller: Caller, operation_id: str, code: str) -> JobRow:
    """The caller's job; raises `Problem(code)`, export_not_found or operation_not_found."""
    row = connection.execute(_by_id(operation_id).where(_EXPORT)).one_or_none()
    if row is None or not reads.may_read(connection, caller, row.log_id):
        raise Problem(code, "There is no such job, or it ended long ago")
    return row


def of_log(
    connection: Connection, log_id: str, limit: int, before: tuple[int, ...] | None, order: str
) -> Sequence[JobRow]:
    """The log's jobs by time of creation; `before` is (created_at, position among equals)."""
    created = operations.c.created_at
    statement = select(operations).where(_EXPORT, operations.c.log_id == log_id)
    descending = order == "desc"
    if before is not None:
        statement = statement.where(created <= before[0] if descending else created >= before[0])
    keys = (created, operations.c.operation_id)
    statement = statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
    skip = 0 if before is None else before[1]
    return connection.execute(statement.limit(limit).offset(skip)).all()


def claim(store: Store, worker: str) -> JobRow | None:
    """The oldest job that nobody works on, now leased to this worker."""
    now = micros.now()
    dead = and_(operations.c.state == "running", operations.c.lease_until < now)
    free = or_(operations.c.state == "pending", dead)
    oldest = select(operations).where(_EXPORT, free).order_by(operations.c.created_at).limit(1)
    with store.write() as connection:
        row = connection.execute(oldest.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        attempts = _progress(row).get("attempts", 0) + 1
        values = {
            "state": "running",
            "progress": orjson.dumps({"done": 0, "total": None, "attempts": attempts}),
            "lease_by": worker,
            "lease_until": now + LEASE,
        }
        if attempts > MAX_ATTEMPTS:
            error = Problem("operation_failed", "Its workers died: create it again").as_json()
            values |= {"state": "failed", "lease_by": None, "error": orjson.dumps(error)}
        connection.execute(update(operations).where(_is(row)).values(values))
        return connection.execute(_by_id(row.operation_id)).one() if values["lease_by"] else None


def progress(store: Store, row: JobRow, worker: str, done: int, total: int | None) -> bool:
    """Report progress and renew the lease; False if the worker is no longer the holder."""
    report = {**_progress(row), "done": done, "total": total}
    values = {"progress": orjson.dumps(report), "lease_until": micros.now() + LEASE}
    with store.write() as connection:
        return _held(connection, row, worker, values)


def finish(store: Store, row: JobRow, worker: str, state: str, **values: Any) -> bool:
    """End a job (or give it back as `pending`); False if the worker is no longer the holder."""
    with store.write() as connection:
        ended = {"state": state, "lease_by": None, "lease_until": None, **values}
        return _held(connection, row, worker, ended)


def cancel(connection: Connection, row: JobRow) -> JobRow:
    """Cancel a job that has not ended; an ended one stays as it is."""
    active = operations.c.state.in_(ACTIVE)
    values = {"state": "cancelled", "lease_by": None, "lease_until": None}
    connection.execute(update(operations).where(_is(row), active).values(values))
    return connection.execute(_by_id(row.operation_id)).one()


def remove(connection: Connection, row: JobRow) -> None:
    """Forget a job."""
    connection.execute(delete(operations).where(_is(row)))


def expire(store: Store) -> list[str]:
    """Mark jobs past their time and drop those long past it; the ids whose files must go."""
    now = micros.now()
    old = select(operations).where(_EXPORT, operations.c.expires_at <= now)
    with store.read() as connection:
        over = operations.c.state != "expired"
        rows = connection.execute(old.where(over).limit(MAX_SWEEP)).all()
        gone = connection.execute(
            old.where(operations.c.expires_at <= now - LIFETIME).limit(MAX_SWEEP)
        ).all()
    if rows or gone:
        with store.write() as connection:
            for row in rows:
                values = {"state": "expired", "result": None, "lease_by": None}
                connection.execute(update(operations).where(_is(row)).values(values))
            for row in gone:
                remove(connection, row)
    return [row.operation_id for row in rows]


def _held(connection: Connection, row: JobRow, worker: str, values: Mapping[str, Any]) -> bool:
    mine = and_(_is(row), operations.c.state == "running", operations.c.lease_by == worker)
    return connection.execute(update(operations).where(mine).values(values)).rowcount == 1


def _progress(row: JobRow) -> dict[str, Any]:
    return dict(orjson.loads(row.progress)) if row.progress else {}


def _is(row: JobRow) -> Any:
    return and_(operations.c.log_id == row.log_id, operations.c.operation_id == row.operation_id)


def _by_id(operation_id: str) -> Any:
    return select(operations).where(operations.c.operation_id == operation_id)
