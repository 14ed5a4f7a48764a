"""Long operations in the database: a queue for each kind that outlives the server.

Rules:
- A job is `pending`, then `running` under a lease that its worker renews; a worker whose lease ran
  out has died, and the job is claimed again. After `MAX_ATTEMPTS` claims it has failed.
- Only the holder of the lease changes a running job: every such update names the worker, and says
  whether it still was the holder (a cancelled job has none).
- Another tenant's job is not found: exports and erasures are for those who may read the log,
  other jobs for those of the tenant of the key that made it (they may speak of several logs).
- A job's events go when it ends. At `expires_at` its result goes too (410); the row, `LIFETIME`
  later.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from ..auth import Caller
from ..problems import Problem
from . import Store, micros, selections
from .schema import operations

LIFETIME = 7 * 86_400 * 1_000_000  # microseconds: a week to download it
LEASE = 60 * 1_000_000  # microseconds: renewed every chunk, so this is far beyond a slow disk
MAX_ATTEMPTS = 5  # a job that killed five workers would kill the sixth
FIRST_PAUSE = 1_000_000  # microseconds before a job that was given back is claimed again; doubled
MAX_PAUSE = 60 * 1_000_000  # microseconds
MAX_DEFERRED = 60  # an hour of a busy database; from then on the job itself is suspected
MAX_SWEEP = 100  # rows removed at a time: a short write transaction

MAX_WAITING = 1000  # jobs of a kind: at 10 MiB a batch, 10 GiB of database
RETRY_AFTER_S = 5.0

JobRow = Row[Any]
EXPORT = "export"
ERASURE = "erasure"
ACTIVE = ("pending", "running")

_SHOWN = [column for column in operations.c if column is not operations.c.content]
_GONE = {"lease_by": None, "lease_until": None, "content": None}


def create(connection: Connection, kind: str, caller: Caller, values: Mapping[str, Any]) -> JobRow:
    """Queue a job; `values` are log_id and request (bytes), perhaps operation_id and content.

    Raises Problem `unavailable` when `MAX_WAITING` of its kind wait.
    """
    waiting = (operations.c.kind == kind) & (operations.c.state == "pending")
    queued = select(operations.c.operation_id).where(waiting).limit(MAX_WAITING)
    if len(connection.execute(queued).all()) == MAX_WAITING:
        raise Problem("unavailable", f"Too many {kind} operations wait", retry_after=RETRY_AFTER_S)
    now = micros.now()
    job = {
        "operation_id": new_id(),
        "key_id": caller.key_id,
        "tenant_id": caller.tenant_id,
        "kind": kind,
        "state": "pending",
        "created_at": now,
        "expires_at": now + LIFETIME,
        **values,
    }
    connection.execute(insert(operations).values(job))
    return connection.execute(_by_id(job["operation_id"])).one()


def new_id() -> str:
    """An id for an operation, impossible to guess."""
    return f"op_{secrets.token_hex(12)}"


def find(connection: Connection, caller: Caller, operation_id: str) -> JobRow:
    """The caller's job of any kind; raises `Problem("operation_not_found")`."""
    row = connection.execute(_by_id(operation_id)).one_or_none()
    if row is None or not _may_see(connection, caller, row):
        raise Problem("operation_not_found", "There is no such job, or it ended long ago")
    return row


def find_export(connection: Connection, caller: Caller, export_id: str) -> JobRow:
    """The caller's export; raises `Problem("export_not_found")`."""
    row = connection.execute(_by_id(export_id).where(operations.c.kind == EXPORT)).one_or_none()
    if row is None or not _may_see(connection, caller, row):
        raise Problem("export_not_found", "There is no such export, or it ended long ago")
    return row


def content(connection: Connection, row: JobRow) -> bytes:
    """The events of a job that has not ended."""
    found = connection.execute(select(operations.c.content).where(_is(row))).scalar_one_or_none()
    return bytes(found or b"[]")


def state(row: JobRow) -> str:
    """The state to show: a job past its time is `expired` before anybody swept it away."""
    return "expired" if row.expires_at <= micros.now() else str(row.state)


def show_progress(row: JobRow) -> dict[str, Any]:
    """The contract's `progress`, once there is some."""
    found = _progress(row)
    return {"progress": {"done": found["done"], "total": found["total"]}} if found else {}


def of_log(
    connection: Connection, log_id: str, limit: int, before: tuple[int, ...] | None, order: str
) -> Sequence[JobRow]:
    """The log's exports by time of creation; `before` is (created_at, position among equals)."""
    created = operations.c.created_at
    statement = select(*_SHOWN).where(operations.c.kind == EXPORT, operations.c.log_id == log_id)
    descending = order == "desc"
    if before is not None:
        statement = statement.where(created <= before[0] if descending else created >= before[0])
    keys = (created, operations.c.operation_id)
    statement = statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
    skip = 0 if before is None else before[1]
    return connection.execute(statement.limit(limit).offset(skip)).all()


def claim(store: Store, kind: str, worker: str) -> JobRow | None:
    """The oldest job of a kind that nobody works on, now leased to this worker."""
    now = micros.now()
    ready = or_(operations.c.lease_until.is_(None), operations.c.lease_until < now)
    free = operations.c.state.in_(ACTIVE) & ready
    oldest = select(*_SHOWN).where(operations.c.kind == kind, free)
    oldest = oldest.order_by(operations.c.created_at).limit(1)
    with store.read() as connection:  # most looks find nothing: they lock nothing
        if connection.execute(oldest).one_or_none() is None:
            return None
    with store.write() as connection:
        row = connection.execute(oldest.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        known = _progress(row)
        attempts = known.get("attempts", 0) + 1
        report = {"done": 0, "total": None, "attempts": attempts}
        report |= {"deferred": known.get("deferred", 0)}
        values = {
            "state": "running",
            "progress": orjson.dumps(report),
            "lease_by": worker,
            "lease_until": now + LEASE,
        }
        if attempts > MAX_ATTEMPTS:
            problem = Problem("operation_failed", "Its workers died: create it again")
            error = orjson.dumps(problem.as_json(request_id=row.operation_id))
            values |= {"state": "failed", "error": error, **_GONE}
        connection.execute(update(operations).where(_is(row)).values(values))
        return connection.execute(_by_id(row.operation_id)).one() if values["lease_by"] else None


def defer(store: Store, row: JobRow, worker: str, *, free: bool) -> bool:
    """Give a job back, to be claimed again after a pause that grows with each time; False if the
    worker is no longer the holder. `free` never costs an attempt; else each after `MAX_DEFERRED`
    does."""
    known = _progress(row)
    times = known.get("deferred", 0) + 1
    costs = not free and times > MAX_DEFERRED
    report = known if costs else _untried(row)
    pause = min(MAX_PAUSE, FIRST_PAUSE << min(times - 1, 10))
    values = {
        "state": "pending",
        "lease_by": None,
        "lease_until": micros.now() + pause,
        "progress": orjson.dumps({**report, "deferred": times}),
    }
    with store.write() as connection:
        return _held(connection, row, worker, values)


def active(store: Store) -> dict[tuple[str, str], int]:
    """How many jobs of each kind and state have not ended."""
    statement = select(operations.c.kind, operations.c.state, func.count())
    statement = statement.where(operations.c.state.in_(ACTIVE))
    statement = statement.group_by(operations.c.kind, operations.c.state)
    with store.read() as connection:
        return {(kind, state): count for kind, state, count in connection.execute(statement)}


def progress(store: Store, row: JobRow, worker: str, done: int, total: int | None) -> bool:
    """Report progress and renew the lease; False if the worker is no longer the holder."""
    report = {**_progress(row), "done": done, "total": total}
    values = {"progress": orjson.dumps(report), "lease_until": micros.now() + LEASE}
    with store.write() as connection:
        return _held(connection, row, worker, values)


def finish(store: Store, row: JobRow, worker: str, to: str, **values: Any) -> bool:
    """End a job (or give it back as `pending`); False if the worker is no longer the holder."""
    with store.write() as connection:
        ended = {"state": to, **_GONE, **values}
        if to == "pending":
            del ended["content"]
            ended["progress"] = orjson.dumps(_untried(row))
        return _held(connection, row, worker, ended)


def note(
    connection: Connection, row: JobRow, worker: str, result: Mapping[str, Any], **values: Any
) -> bool:
    """Keep what is done so far, for whoever begins the job anew; False if the worker is no longer
    the holder."""
    return _held(connection, row, worker, {"result": orjson.dumps(result), **values})


def noted(connection: Connection, row: JobRow) -> dict[str, Any]:
    """What was kept of a job that is under way."""
    found = connection.execute(select(operations.c.result).where(_is(row))).scalar_one_or_none()
    return orjson.loads(found) if found else {}


def forget_exports(connection: Connection, log_id: str, first: int, last: int) -> list[str]:
    """End the log's exports that may hold events of an index range, as if their time were over;
    those that are being made begin anew. The ids of the files that must go."""
    mine = (operations.c.log_id == log_id) & (operations.c.kind == EXPORT)
    gone: list[str] = []
    for row in connection.execute(select(*_SHOWN).where(mine, operations.c.state == "succeeded")):
        held = orjson.loads(row.result)
        if held["count"] and held["first_index"] <= last and first <= held["last_index"]:
            told = {name: orjson.loads(row.request)[name] for name in ("format", "compression")}
            values: dict[str, Any] = {"state": "expired", "result": None}
            # A filter may name what was taken out.
            values |= {"request": orjson.dumps(told), "expires_at": micros.now()}
            connection.execute(update(operations).where(_is(row)).values(values))
            gone.append(row.operation_id)
    again = {"state": "pending", "lease_by": None, "lease_until": None, "progress": None}
    running = mine & (operations.c.state == "running")
    connection.execute(update(operations).where(running).values(again))
    return gone


def cancel(connection: Connection, row: JobRow) -> JobRow:
    """Cancel a job that has not ended; an ended one stays as it is."""
    active = operations.c.state.in_(ACTIVE)
    values = {"state": "cancelled", **_GONE}
    connection.execute(update(operations).where(_is(row), active).values(values))
    return connection.execute(_by_id(row.operation_id)).one()


def remove(connection: Connection, row: JobRow) -> None:
    """Forget a job."""
    connection.execute(delete(operations).where(_is(row)))


def expire(store: Store, kind: str) -> list[str]:
    """Mark jobs past their time and drop those long past it; the ids whose files must go."""
    now = micros.now()
    old = select(*_SHOWN).where(operations.c.kind == kind, operations.c.expires_at <= now)
    with store.read() as connection:
        over = operations.c.state != "expired"
        rows = connection.execute(old.where(over).limit(MAX_SWEEP)).all()
        gone = connection.execute(
            old.where(operations.c.expires_at <= now - LIFETIME).limit(MAX_SWEEP)
        ).all()
    if rows or gone:
        with store.write() as connection:
            for row in rows:
                values = {"state": "expired", "result": None, **_GONE}
                connection.execute(update(operations).where(_is(row)).values(values))
            for row in gone:
                remove(connection, row)
    return [row.operation_id for row in rows]


def _held(connection: Connection, row: JobRow, worker: str, values: Mapping[str, Any]) -> bool:
    mine = and_(_is(row), operations.c.state == "running", operations.c.lease_by == worker)
    return connection.execute(update(operations).where(mine).values(values)).rowcount == 1


def _progress(row: JobRow) -> dict[str, Any]:
    return dict(orjson.loads(row.progress)) if row.progress else {}


def _untried(row: JobRow) -> dict[str, Any]:
    """Its progress as if it had not been claimed this time."""
    known = _progress(row)
    return {**known, "done": 0, "total": None, "attempts": known.get("attempts", 1) - 1}


def _is(row: JobRow) -> Any:
    return and_(operations.c.log_id == row.log_id, operations.c.operation_id == row.operation_id)


def _by_id(operation_id: str) -> Any:
    return select(*_SHOWN).where(operations.c.operation_id == operation_id)


def _may_see(connection: Connection, caller: Caller, row: JobRow) -> bool:
    if row.kind in {EXPORT, ERASURE}:
        return selections.may_read(connection, caller, row.log_id)
    return caller.tenant_id in {None, row.tenant_id}
