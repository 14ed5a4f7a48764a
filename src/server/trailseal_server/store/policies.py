"""A log's redaction policy in the database; the log's row says which one is in force."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from . import micros
from .schema import logs, redaction_policies

_c = redaction_policies.c


def in_force(connection: Connection, log_id: str) -> tuple[list[dict[str, Any]], int | None]:
    """The rules in force, and since when; none without a policy."""
    found = connection.execute(select(redaction_policies).where(_c.log_id == log_id)).one_or_none()
    return ([], None) if found is None else (orjson.loads(found.rules), found.updated_at)


def replace(connection: Connection, log_id: str, given: Sequence[Any]) -> int | None:
    """Put rules in force, under the lock of the log's row; when: always later than those before.
    None where there are none."""
    _, before = in_force(connection, log_id)
    now = max(micros.now(), (before or 0) + 1) if given else None
    connection.execute(delete(redaction_policies).where(_c.log_id == log_id))
    if now is not None:
        row = {"log_id": log_id, "rules": orjson.dumps(given), "updated_at": now}
        connection.execute(insert(redaction_policies).values(row))
    connection.execute(update(logs).where(logs.c.log_id == log_id).values(policy_at=now))
    return now
