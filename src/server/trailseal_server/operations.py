"""Long operations of every kind, as their owners see them (store/jobs.py has the rows).

A key that may begin an operation may look at it and cancel it: `SCOPES`.
"""

from typing import Any

import orjson

from .auth import Caller
from .contract import ADMIN_SCOPE
from .export_plans import export
from .problems import Problem
from .store import Store, jobs, micros
from .store.jobs import JobRow

SCOPES = {
    "export": "exports",
    "batch": "events:write",
    "upload": "events:write",
    "erasure": "privacy",
}


class Operations:
    """The operations of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, caller: Caller, operation_id: str) -> dict[str, Any]:
        """The `Operation`; raises `Problem` operation_not_found, permission_denied."""
        with self._store.read() as connection:
            return show(_permitted(caller, jobs.find(connection, caller, operation_id)))

    def cancel(self, caller: Caller, operation_id: str) -> dict[str, Any]:
        """Cancel one that has not ended, and answer it; raises `Problem` as `get`."""
        with self._store.write() as connection:
            row = _permitted(caller, jobs.find(connection, caller, operation_id))
            return show(jobs.cancel(connection, row))


def show(row: JobRow) -> dict[str, Any]:
    """The contract's `Operation`."""
    result: dict[str, Any] = {}
    if row.kind == jobs.EXPORT:
        result["export"] = export(row)
    elif row.kind == jobs.ERASURE:
        result["erasure"] = erasure(row)
    elif row.result:
        result["batch"] = orjson.Fragment(row.result)
    if row.error:
        result["error"] = orjson.loads(row.error)
    return {
        "operation_id": row.operation_id,
        "kind": row.kind,
        "state": jobs.state(row),
        **jobs.show_progress(row),
        "created_at": micros.text(row.created_at),
        "expires_at": micros.text(row.expires_at),
        **result,
    }


def erasure(row: JobRow, subject: str | None = None) -> dict[str, Any]:
    """The contract's `Erasure`; the subject is told while the job has it."""
    state = jobs.state(row)
    done = orjson.loads(row.result) if row.result else {}
    told = {name: done[name] for name in ("events", "exports", "completed_at") if name in done}
    return {
        "erasure_id": row.operation_id,
        "log_id": row.log_id,
        **({} if subject is None or state not in jobs.ACTIVE else {"subject": subject}),
        "reason": orjson.loads(row.request)["reason"],
        "state": state,
        **told,
        "created_at": micros.text(row.created_at),
    }


def _permitted(caller: Caller, row: JobRow) -> JobRow:
    scope = SCOPES[row.kind]
    if not {scope, ADMIN_SCOPE} & caller.scopes:
        raise Problem("permission_denied", f"This operation needs a key with the scope {scope}")
    return row
