"""What every removal shares: the rows under the log's lock, and an event that tells of it.

Rule: a removal and the event that logs it are one transaction. The event names who asked and how
much went, never what: nothing of it may be personal again.
"""

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from .prepare import Origin, draft
from .problems import Problem
from .redaction import Choose, Reason, redact
from .store import Connection, holds, logs, micros
from .store.append import Group, Names, Placed, append
from .store.holds import Held
from .store.logs import LogRow
from .store.records import EventRow, content_of
from .store.rewrite import Change, rewrite

PREFIX = "trailseal."  # of the actions of such events
SCHEMA_AND_AMENDS = frozenset({"schema", "amends"})  # a part would say something else


def locked(connection: Connection, log_id: str) -> tuple[LogRow, Held]:
    """The log, its row locked, and what is held of it; raises `Problem("log_not_found")`."""
    log = logs.find(connection, log_id, lock=True)
    if log is None:
        raise Problem("log_not_found", "There is no such log")
    return log, holds.held(connection, log_id)


def subjects(row: EventRow) -> Collection[str]:
    """Whom an event names."""
    return [each for each in orjson.loads(row.body).get("subjects") or () if each is not None]


def remove(
    connection: Connection,
    log: LogRow,
    chosen: Sequence[tuple[EventRow, Choose]],
    reason: Reason,
) -> int:
    """Take the chosen fields out of these events; how many of them held any."""
    changes = []
    for row, choose in chosen:
        left = redact(content_of(row), choose, reason)
        if left is not None:
            changes.append(Change(row, left))
    rewrite(connection, log, changes)
    return len(changes)


def tell(connection: Connection, log: LogRow, key_id: str, event: dict[str, Any]) -> None:
    """Append the event of a removal; one with the id of an earlier one is that one."""
    told = {"actor": {"id": key_id, "type": "api_key"}, "outcome": "success", **event}
    group = Group([draft(told, lambda _: (), Origin(key_id), "")])
    ((placed,),) = append(connection, log, [group], micros.now(), Names())
    if not isinstance(placed, Placed) and "id" not in event:
        raise RuntimeError("a new id was taken")
